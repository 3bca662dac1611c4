"""Runs of words shared with an evaluation set, against Python sets; words of every script."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest

from rulesel.algorithms import overlap as module
from rulesel.algorithms.overlap import Against
from rulesel.algorithms.text_hash import Characters, Tokens, word_ngrams

WORDS = [901227248225882889, 13105024220255595620]
PAIRS = [8469949729058309080]
PIECES = [12377796110139328478]


def plain_runs(text, n):
    words = re.findall(r"[^\W_]+", text.lower())
    return [tuple(words[at : at + n]) for at in range(len(words) - n + 1)] or ([tuple(words)] if words else [])


def sentences(seed, count, vocabulary=30):
    rng = random.Random(seed)
    words = [f"w{number}" for number in range(vocabulary)]
    ends = [" ", ", ", "! ", "\n"]
    return [
        "".join(rng.choice(words).title() + rng.choice(ends) for _ in range(rng.randrange(0, 25))) for _ in range(count)
    ]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("batch", [1, 7, 1024])
def test_shares_are_those_of_python_sets(n, batch, monkeypatch):
    monkeypatch.setattr(module, "BATCH", batch)
    tests, texts = sentences(1, 12), sentences(2, 60)
    known = {run for text in tests for run in plain_runs(text, n)}
    against = Against(iter(tests), n=n)
    share, shared, runs = against.check(texts)
    for row, text in enumerate(texts):
        own = plain_runs(text, n)
        assert runs[row] == len(own)
        assert shared[row] == sum(run in known for run in own)
        assert share[row] == pytest.approx(shared[row] / len(own) if own else np.nan, nan_ok=True)
    seen = {run for text in texts for run in plain_runs(text, n)}
    for row, text in enumerate(tests):
        own = plain_runs(text, n)
        expected = sum(run in seen for run in own) / len(own) if own else np.nan
        assert against.leaked()[row] == pytest.approx(expected, nan_ok=True)


def test_a_leaked_question_is_found_whatever_its_case_and_marks():
    question = "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in May."
    against = Against([question, "A question nobody trains on: how many apples has the farmer's youngest son?"])
    texts = [
        f"Question: {question.upper()} Answer: 72",
        question.replace(",", " --").replace(" ", "\n"),
        "Natalia sold some clips to friends in April.",
        "",
    ]
    overlap = against.check(texts)
    assert (overlap.shared > 0).tolist() == [True, True, False, False]
    assert overlap.share[1] == 1
    assert np.isnan(overlap.share[3])
    assert against.leaked().tolist() == [1, 0]


def test_a_short_text_counts_as_one_run():
    against = Against(["What is 2+2?"], n=8)
    assert against.check(["what is 2 2", "So, what is 2+2? It is 4."]).shared.tolist() == [1, 0]


def test_checks_add_up_over_batches():
    tests, texts = sentences(3, 10), sentences(4, 40)
    once, often = Against(tests, n=2), Against(tests, n=2)
    whole = once.check(texts)
    parts = [often.check(texts[at : at + 9]) for at in range(0, 40, 9)]
    np.testing.assert_array_equal(whole.shared, np.concatenate([part.shared for part in parts]))
    np.testing.assert_array_equal(once.leaked(), often.leaked())


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The cat, the CAT!", 4),
        ("我爱北京", 4),
        ("version 3.11 of rulesel_2", 6),
        ("ﬁne Ｆｕｌｌ", 2),
        ("한국어 단어", 2),
        ("naïve café", 2),
        ("…—!?", 0),
        ("", 0),
        ("lone \ud800 surrogate", 2),
    ],
)
def test_words_of_every_script(text, count):
    assert len(Characters([text]).words().hashes) == count


def test_equal_words_have_equal_hashes_wherever_they_stand():
    first = Characters(["alpha beta", "beta ALPHA, alpha"]).words()
    alpha, beta = first.hashes[0], first.hashes[1]
    assert alpha != beta
    assert first.hashes.tolist() == [alpha, beta, beta, alpha, alpha]
    assert first.text.tolist() == [0, 0, 1, 1, 1]
    assert Characters(["ﬁne"]).words().hashes == Characters(["fine"]).words().hashes
    assert Characters(["cafe\u0301"]).words().hashes == Characters(["café"]).words().hashes


def test_hashes_never_change():
    # They are stored beside features: another value would make old ones useless.
    words = Characters(["rulesel 北"]).words()
    assert words.hashes.tolist() == WORDS
    assert word_ngrams(words, 2).hashes.tolist() == PAIRS
    assert Characters(["ab"]).pieces(4).hashes.tolist() == PIECES


def test_pieces_stay_within_words_and_do_not_depend_on_the_batch():
    def pieces(texts, text):
        found = Characters(texts).pieces(4)
        return found.hashes[found.text == text].tolist()

    alone = pieces(["word on"], 0)
    assert len(alone) == 4  # " wor", "word", "ord ", " on "
    assert pieces(["x", "word on", "y"], 1) == alone
    assert pieces(["word", "on"], 0) + pieces(["word", "on"], 1) == alone
    assert len(pieces(["我爱北京"], 0)) == 0


def test_runs_do_not_cross_texts():
    words = Tokens(np.array([1, 2, 3, 4], dtype=np.uint64), np.array([0, 0, 1, 1]))
    assert word_ngrams(words, 2).text.tolist() == [0, 1]
    assert len(word_ngrams(words, 3).hashes) == 0


def test_different_words_hardly_ever_share_a_hash():
    words = Characters([" ".join(f"{a}{b}" for a in range(400) for b in ("x", "y", "xy", "yx"))]).words()
    assert len(np.unique(words.hashes)) == 1600
    anagrams = Characters(["abc acb bac bca cab cba aab aba baa"]).words()
    assert len(np.unique(anagrams.hashes)) == 9


@pytest.mark.parametrize(
    ("texts", "n", "message"), [(["word"], 0, "n = 0"), ([" !"], 8, "no words"), ([], 8, "no words")]
)
def test_bad_input_is_named(texts, n, message):
    with pytest.raises(ValueError, match=message):
        Against(texts, n=n)
