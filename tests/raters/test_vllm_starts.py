"""The start of the answers of a model in this process: tried, kept, part of the identity."""

import dataclasses

import numpy as np
import pytest

from rulesel.errors import UsageError
from rulesel.llm.fake_tokens import ByteTokenizer, FakeTokenModel
from rulesel.llm.starts import STARTS, best
from rulesel.raters import Lent, rater_for
from rulesel.raters.vllm import Vllm
from rulesel.records import Batch, Rule, Status

LENT = Lent(b"k" * 32, lambda name: pytest.fail(f"asked for {name}"))
RULE = Rule(name="clear", text="The answer is clear.")
BATCH = Batch([f"b2-{i:032x}" for i in range(9)], [None] * 9, [f"text {i}" for i in range(9)])


def rater_with(model, tokenizer=None, **parameters):
    rater = Vllm(model="none", **parameters)
    rater.use(model, tokenizer or ByteTokenizer(), 1 << 20)
    return rater


def model_folder(path):
    path.mkdir()
    (path / "config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"w")
    return path


def rate(rater):
    (ratings,) = rater.rate([BATCH], [RULE], LENT)
    return ratings


def test_a_model_that_begins_with_a_word_is_given_a_start():
    model = FakeTokenModel(mass=0.1, after={"assistant\nRating: ": 0.9, "assistant\nScore: ": 0.6})
    rater = rater_with(model)
    assert (rate(rater).status == Status.low_mass).all()
    found = rater.try_starts(BATCH, RULE, LENT)
    assert [one.start for one in found] == list(STARTS)
    assert [round(one.mass, 2) for one in found] == [0.1, 0.9, 0.1, 0.6, 0.1, 0.1]
    begun = rater.starting(best(found).start, best(found).mass)
    ratings = rate(begun)
    assert (ratings.status == Status.ok).all()
    np.testing.assert_allclose(ratings.mass, 0.9, atol=1e-6)
    assert begun.provenance() | {"start": "Rating: "} == begun.provenance()
    assert begun.provenance()["start_mass"] == pytest.approx(0.9, abs=1e-5)


def test_all_starts_are_tried_in_one_call_on_prefixes_computed_once():
    model = FakeTokenModel()
    rater_with(model, starts=("Mark: ",)).try_starts(BATCH, RULE, LENT)
    assert model.calls == [(9, len(STARTS) + 1)]


def test_a_start_of_the_users_own_is_tried_too():
    rater = rater_with(FakeTokenModel(mass=0.1, after={"Mark: ": 0.8}), starts=("Mark: ",))
    assert best(rater.try_starts(BATCH, RULE, LENT)).start == "Mark: "


def test_the_mass_of_the_digits_beyond_the_scale_is_measured():
    class Ten(FakeTokenModel):
        def next_token(self, prefixes, suffixes, ids):
            found = super().next_token(prefixes, suffixes, ids)
            found.logprobs[:, :, [i for i, token in enumerate(ids) if token in b"6789"]] = np.log(0.05)
            return found

    assert all(one.beyond == pytest.approx(0.2, abs=1e-5) for one in rater_with(Ten()).try_starts(BATCH, RULE, LENT))


def test_an_engine_that_only_renormalises_cannot_tell_starts_apart():
    class Renormalised(FakeTokenModel):
        def next_token(self, prefixes, suffixes, ids):
            return dataclasses.replace(super().next_token(prefixes, suffixes, ids), exact=False)

    assert rater_with(Renormalised()).try_starts(BATCH, RULE, LENT) == []


def test_the_start_is_part_of_the_identity_and_none_adds_nothing(tmp_path):
    folder = model_folder(tmp_path / "a")
    plain = rater_for(f"vllm:{folder}")
    ids = [rater_for(f"vllm:{folder}", start=start).id for start in ("", "Rating: ", "Score: ")]
    assert ids[0] == plain.id == plain.bare_id
    assert len(set(ids)) == 3
    assert rater_for(f"vllm:{folder}", starts=("Mark: ",)).id == plain.id
    assert rater_for(f"vllm:{folder}", start="Rating: ").bare_id == plain.id
    assert plain.undecided
    assert not plain.starting("").undecided


def test_a_template_that_trims_does_not_take_the_blank():
    class Trimming(ByteTokenizer):
        def apply_chat_template(self, messages, **ignored):
            return super().apply_chat_template({**m, "content": m["content"].strip()} for m in messages)

    model = FakeTokenModel(mass=0.1, after={"\nRating: ": 0.9})
    assert (rate(rater_with(model, Trimming(), start="Rating: ")).status == Status.ok).all()


@pytest.mark.parametrize(("opened", "closed"), [("<think>", "</think>"), ("[THINK]", "[/THINK]")])
def test_the_start_follows_the_mark_that_closes_a_thought(opened, closed):
    class Thinking(ByteTokenizer):
        def apply_chat_template(self, messages, **ignored):
            return f"{super().apply_chat_template(messages)}{opened}\n"

    model = FakeTokenModel(mass=0.1, after={f"assistant\n{opened}\n\n{closed}\n\nRating: ": 0.9})
    rater = rater_with(model, Thinking())
    with pytest.raises(UsageError, match="think before it answers"):
        rate(rater)
    found = rater.try_starts(BATCH, RULE, LENT)
    assert found[0].why == "the chat template makes the model think first"
    assert best(found).start == "Rating: "
    assert (rate(rater.starting("Rating: ")).status == Status.ok).all()


def test_the_engine_goes_over_to_the_rater_that_starts():
    model = FakeTokenModel()
    rater = rater_with(model)
    begun = rater.starting("Rating: ")
    rate(begun)
    rater.close()
    assert model.closed == 0
    begun.close()
    assert model.closed == 1


def test_a_start_after_which_no_digit_is_a_token_is_refused():
    class Pairs(ByteTokenizer):
        @staticmethod
        def _encode(text, *, split):
            ids = ByteTokenizer._encode(text, split=split)
            return [*ids[:-1], 7, ids[-1]] if text.startswith("Rating") and text[-1].isdigit() else ids

    with pytest.raises(UsageError, match="no single token for a digit"):
        rater_with(FakeTokenModel(), Pairs(), start="Rating: ")
