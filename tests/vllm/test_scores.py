"""The ratings of vLLM in this process against transformers, and against themselves in every other order and cut."""

import json
import math

import numpy as np
import pytest

from rulesel.llm.base import ChatRequest, Failure
from rulesel.llm.documents import prepare
from rulesel.llm.labels import DIGITS, expectation
from rulesel.prompts import load
from rulesel.raters import Lent, rater_for
from rulesel.raters.chat import question
from rulesel.records import Batch, Flag, Status

TOLERANCE = 1e-4  # float32 kernels of two libraries; within vLLM it is 1e-6


@pytest.fixture(scope="session")
def reference(tiny):
    """The whole chat as text, encoded by the tokenizer, every prompt by itself through transformers."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny).eval()
    said = {d: [i for t, i in tokenizer.get_vocab().items() if t.strip("Ġ") == d] for d in DIGITS}

    def score(values, rule):
        turns = [{"role": r, "content": c} for r, c in load("rate_rule@1").messages(**values, **question(rule))]
        ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        with torch.inference_mode():
            logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0, -1].double(), -1)
        value, mass = expectation([(d, float(logprobs[i])) for d, ids in said.items() for i in ids], DIGITS)
        return (1 - value / 5 if rule.polarity == "negative" else value / 5), mass

    score.tokenizer, score.model = tokenizer, model
    return score


def test_ratings_are_those_of_transformers(rater, rate, batch, rules, reference, lent):
    found = rate(rater, batch)
    opened = rater.open()
    values = prepare(opened.split, batch, lent.secret, budget=opened.budget, pad=False).values
    for i in (0, 1, 3, 4, 5, 6, 7, 8):
        for j, rule in enumerate(rules):
            value, mass = reference(values[i], rule)
            assert found.mass[i, j] == pytest.approx(mass, abs=TOLERANCE)
            if found.status[i, j] == Status.ok:
                assert found.values[i, j] == pytest.approx(value, abs=TOLERANCE)
            else:
                assert mass < 0.5 + TOLERANCE
    ok = found.status == Status.ok
    assert 0.4 < ok.mean() < 1, "some prompts of the tiny model are refused, most are not"
    assert np.nanstd(found.values) > 0.1, "a model that says the same of everything would prove nothing"
    assert all(opened.canonical)


def test_a_long_document_is_cut_and_flagged_alone(rater, rate, batch):
    cut = rate(rater, batch).flags[:, 0] & Flag.document_cut
    assert np.flatnonzero(cut).tolist() == [3]


def test_cache_batch_and_order_change_nothing(rater, rate, batch, rules):
    rater.open().model.forget()
    cold = rate(rater, batch)
    warm = rate(rater, batch)
    order = np.random.default_rng(1).permutation(len(batch))
    shuffled = rate(
        rater, Batch(*([column[i] for i in order] for column in (batch.hashes, batch.prompts, batch.responses)))
    )
    np.testing.assert_allclose(warm.mass, cold.mass, atol=1e-6)
    np.testing.assert_allclose(warm.values, cold.values, atol=1e-6)
    np.testing.assert_allclose(shuffled.values, cold.values[order], atol=1e-6)
    for i in (0, 3, 4):
        for j, rule in enumerate(rules):
            rater.open().model.forget()
            one = rate(
                rater, Batch(batch.hashes[i : i + 1], batch.prompts[i : i + 1], batch.responses[i : i + 1]), [rule]
            )
            np.testing.assert_allclose(one.mass[0, 0], cold.mass[i, j], atol=1e-6)


def test_every_document_is_computed_once(rater, rate, batch, rules):
    model = rater.open().model
    model.forget()
    before = model.counters
    rate(rater, batch)
    rate_again = model.counters
    opened = rater.open()
    documents = prepare(opened.split, batch, b"v" * 32, budget=opened.budget, pad=False).prefixes
    suffixes = opened.split.suffixes([question(rule) for rule in rules])
    ideal = sum(map(len, documents)) + len(documents) * sum(map(len, suffixes))
    computed = rate_again.computed - before.computed
    assert computed <= 1.2 * ideal
    assert rate_again.prompt - before.prompt == sum(
        len(document) + len(suffix) for document in documents for suffix in suffixes
    )


def test_padding_to_whole_blocks_saves_work_and_scores_like_its_own_text(rater, rate, batch, rules, reference, lent):
    opened = rater.open()
    padded = prepare(opened.split, batch, lent.secret, budget=opened.budget, pad=True).prefixes
    plain = prepare(opened.split, batch, lent.secret, budget=opened.budget, pad=False).prefixes
    suffixes = opened.split.suffixes([question(rule) for rule in rules] * 3)
    ids = [i for variant in opened.variants for i in variant]
    work = []
    for prefixes in (plain, padded):
        opened.model.forget()
        before = opened.model.counters.computed
        found = opened.model.next_token(prefixes, suffixes, ids)
        work.append(opened.model.counters.computed - before)
    assert sum(len(p) % 32 == 0 for p in padded) >= 18
    assert work[1] < work[0]
    import torch

    for i in (0, 7, 11):
        text = reference.tokenizer.decode(padded[i] + suffixes[1])
        whole = reference.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert whole == padded[i] + suffixes[1]
        with torch.inference_mode():
            logprobs = torch.log_softmax(reference.model(torch.tensor([whole])).logits[0, -1].double(), -1)
        np.testing.assert_allclose(found.logprobs[i, 1], logprobs[ids].numpy(), atol=1e-3)


def test_perplexity_is_that_of_transformers_and_fills_the_cache_for_the_rules(
    rater, rate, batch, rules, reference, lent
):
    import torch

    curious = type(rater)(**rater.model_dump() | {"perplexity": True})
    opened = rater.open()
    curious.use(opened.model, opened.tokenizer, 2048)
    few = Batch(batch.hashes[:6], batch.prompts[:6], batch.responses[:6])
    opened.model.forget()
    before = opened.model.counters
    ((ratings, surprise),) = curious.rate_and_read([few], rules, lent)
    spent = opened.model.counters
    np.testing.assert_allclose(ratings.values, rate(rater, few).values, atol=1e-6)
    values = prepare(opened.split, few, lent.secret, budget=opened.budget, pad=False).values
    prefixes, spans = opened.split.prefixes(values), opened.split.spans(values)
    for i, (prefix, (start, stop)) in enumerate(zip(prefixes, spans, strict=True)):
        assert reference.tokenizer.decode(prefix[start:stop]).rstrip("\n") == values[i]["document"]
        with torch.inference_mode():
            logits = reference.model(torch.tensor([prefix])).logits[0].double()
        each = torch.log_softmax(logits[start - 1 : stop - 1], -1)[range(stop - start), prefix[start:stop]]
        assert surprise[i] == pytest.approx(-float(each.mean()), abs=1e-3)
    shared = len(rules) * sum(len(p) // 32 * 32 for p in prefixes)
    assert spent.cached - before.cached >= 0.97 * shared


def test_exact_ids_are_asked_for_and_come(rater, rate, batch):
    found = rate(rater, batch)
    opened = rater.open()
    assert opened.model.exact
    assert opened.variants == tuple((i,) for i in opened.tokenizer.convert_tokens_to_ids(list("012345")))
    assert np.isfinite(found.mass).all()
    assert math.isclose(float(found.mass.max()), 1.0, abs_tol=0.1)


def test_the_engine_answers_chats_as_a_chat_model(rater, rate, batch, rules, lent):
    whole = [i for i in range(len(batch)) if i != 3]  # it cuts by characters, not by tokens
    some = Batch(
        [batch.hashes[i] for i in whole], [batch.prompts[i] for i in whole], [batch.responses[i] for i in whole]
    )
    chat = rater_for("http://127.0.0.1:9/v1#tiny")
    model = rater.chat()
    (theirs,) = chat.rate([some], rules, Lent(lent.secret, lambda name: model))
    ours = rate(rater, some)
    both = (ours.status == Status.ok) & (theirs.status == Status.ok)
    assert both.sum() >= 0.98 * (ours.status == Status.ok).sum()
    np.testing.assert_allclose(theirs.values[both], ours.values[both], atol=0.01)


def test_a_second_opinion_is_asked_for_in_other_words_on_the_same_engine(rater, rate, batch, rules, lent):
    first = rate(rater, batch)
    again = rater.reworded()
    second = rate(again, batch)
    assert again.id != rater.id
    assert again.open().model is rater.open().model
    assert not np.allclose(first.values, second.values, atol=1e-3, equal_nan=True)
    model = rater.chat()
    chat = rater_for("http://127.0.0.1:9/v1#tiny").reworded()
    short = [i for i in range(len(batch)) if i != 3]  # the other is cut, here by tokens and there by characters
    some = Batch(
        [batch.hashes[i] for i in short], [batch.prompts[i] for i in short], [batch.responses[i] for i in short]
    )
    (theirs,) = chat.rate([some], rules, Lent(lent.secret, lambda name: model))
    ours = second.values[short]
    both = ~np.isnan(theirs.values) & ~np.isnan(ours)
    assert both.sum() >= 0.98 * (~np.isnan(ours)).sum() > 0
    np.testing.assert_allclose(theirs.values[both], ours[both], atol=0.01)
    again.close()
    np.testing.assert_array_equal(rate(rater, batch).values, first.values)


def test_a_chat_is_text_held_to_a_schema_or_a_failure_of_its_own(rater):
    schema = {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    asked = [
        ChatRequest((("user", "Say something."),), max_tokens=5),
        ChatRequest((("user", "word " * 3000),), max_tokens=5),
        ChatRequest((("system", "Answer."), ("user", "Yes or no?")), max_tokens=60, json_schema=schema),
        ChatRequest((("user", "Say something."),), max_tokens=5, temperature=1.0, salt=1),
    ]
    free, long, held, warm = rater.chat().complete(iter(asked))
    assert free.text
    assert (free.finish, free.completion_tokens) == ("length", 5)
    assert isinstance(long, Failure)
    assert "tokens, the engine was opened for" in long.reason
    assert held.finish == "length" or json.loads(held.text).keys() == {"ok"}
    assert held.text.lstrip().startswith("{")
    assert warm.text != free.text
