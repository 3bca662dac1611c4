import numpy as np
import pytest

from rulesel.errors import UsageError
from rulesel.evaluation.calibration import drift, order
from rulesel.llm.fake_tokens import ByteTokenizer, FakeTokenModel
from rulesel.llm.tokens import NextToken
from rulesel.raters import Lent, rater_for
from rulesel.raters.vllm import Vllm
from rulesel.records import Batch, Rule

LENT = Lent(b"k" * 32, lambda name: pytest.fail(f"asked for {name}"))
RULES = [Rule(name="sure", text="It is sure."), Rule(name="swayed", text="It is swayed.")]
EXAMPLES = Batch([f"b2-{i:032x}" for i in range(60)], [None] * 60, [f"text {i}" for i in range(60)])


class Swayed(FakeTokenModel):
    """Rates a document by its number; asked about being swayed, the order of the prompt decides."""

    def next_token(self, prefixes, suffixes, ids):
        found = super().next_token(prefixes, suffixes, ids)
        logprobs = np.full(found.logprobs.shape, -9.0)
        for i, prefix in enumerate(prefixes):
            for j, suffix in enumerate(suffixes):
                said = ByteTokenizer().decode(prefix + suffix)
                number = int(said.split("DOCUMENT\ntext ")[1].split("\n")[0]) / 60
                rule_first = said.index("Statement") < said.index("START OF DOCUMENT\ntext")
                level = 1 - number if rule_first and "It is swayed." in said else number
                logprobs[i, j, [0, 5]] = np.log([0.98 - 0.96 * level, 0.02 + 0.96 * level])
        return NextToken(logprobs, found.sampled)


def rater_of(model):
    rater = Vllm(model="none")
    rater.use(model, ByteTokenizer(), 1 << 20)
    return rater


def test_a_rule_whose_ranks_turn_with_the_order_of_the_prompt_is_doubtful():
    found = order(rater_of(Swayed()), EXAMPLES, RULES, LENT)
    assert found.spearman == pytest.approx([1.0, -1.0], abs=1e-3)
    assert found.n.tolist() == [60, 60]
    assert found.doubtful() == [1]
    assert found.shift[0] == pytest.approx(0.0, abs=1e-6)


def test_a_rule_that_failed_cannot_be_compared_and_is_doubtful():
    found = order(rater_of(FakeTokenModel(mass=0.4)), EXAMPLES, RULES, LENT)
    assert np.isnan(found.spearman).all()
    assert found.n.tolist() == [0, 0]
    assert found.doubtful() == [0, 1]


def test_a_copy_with_another_prompt_shares_the_engine_and_leaves_the_first_as_it_was():
    rater = rater_of(FakeTokenModel())
    (before,) = rater.rate([EXAMPLES], RULES, LENT)
    copy = rater.model_copy(update={"prompt": "rate_rule_first@1"})
    (other,) = copy.rate([EXAMPLES], RULES, LENT)
    (after,) = rater.rate([EXAMPLES], RULES, LENT)
    np.testing.assert_array_equal(before.values, after.values)
    assert (before.values != other.values).all()
    assert copy.open().model is rater.open().model


def test_ratings_without_a_prompt_have_no_order():
    with pytest.raises(UsageError, match="'signals' has no prompt"):
        order(rater_for("signals"), EXAMPLES, RULES, LENT)


def test_an_exact_engine_does_not_drift():
    found = drift(rater_of(FakeTokenModel()), EXAMPLES, RULES, LENT)
    assert found.largest == (0.0,) * 4
    assert found.flipped == (0,) * 4


def test_an_engine_that_minds_its_company_is_caught():
    class Minding(FakeTokenModel):
        def next_token(self, prefixes, suffixes, ids):
            found = super().next_token(prefixes, suffixes, ids)
            found.logprobs[..., 5] += 0.01 * len(prefixes)
            return found

    found = dict(zip(*[(d := drift(rater_of(Minding()), EXAMPLES, RULES, LENT)).arms, d.largest], strict=True))
    assert found["7 examples at a time"] > 0.01
    assert found["again, from the cache"] == 0.0
