"""Embedding without a model: against a plain TF-IDF and SVD, the same however texts are batched, of every script."""

from __future__ import annotations

import random

import numpy as np
import pytest

from rulesel.algorithms import projection as module
from rulesel.algorithms.projection import _counts, _weighted, fit_projection
from rulesel.algorithms.text_hash import Characters, word_ngrams

TOPICS = {
    "cooking": "boil pasta salt water sauce garlic onion pan stir simmer oven bake butter flour sugar taste",
    "algebra": "solve equation variable matrix vector integral derivative sum product prime number proof theorem root",
    "travel": "train ticket hotel passport luggage flight airport beach island museum tour guide map station city",
}
FILLERS = [
    "the",
    "a",
    "of",
    "and",
    "to",
    "in",
    "with",
    "for",
    "on",
    "is",
    "it",
    "that",
    "this",
    "we",
    "you",
    "should",
    "then",
    "first",
    "next",
]


def corpus(count, seed=0):
    rng = random.Random(seed)
    names = sorted(TOPICS)
    topics = [names[number % 3] for number in range(count)]
    texts = [
        " ".join(rng.choice(TOPICS[topic].split() if rng.random() < 0.5 else FILLERS) for _ in range(40))
        for topic in topics
    ]
    return texts, np.array([names.index(topic) for topic in topics])


def plain_weights(texts, columns):
    """TF-IDF of words, pairs and four-character runs with dictionaries, columns as the projection numbers them."""
    out = np.zeros((len(texts), len(columns.idf)))
    half = 2 ** (module.BITS - 1)
    occurs, every = np.zeros(len(columns.idf)), []
    for text in texts:
        characters = Characters([text])
        words = characters.words()
        found = [*words.hashes.tolist(), *word_ngrams(words, 2).hashes.tolist()]
        buckets = [hash_ >> (65 - module.BITS) for hash_ in found]
        buckets += [half + (hash_ >> (65 - module.BITS)) for hash_ in characters.pieces(4).hashes.tolist()]
        every.append(buckets)
        for column in {columns.column[bucket] for bucket in buckets} - {-1}:
            occurs[column] += 1
    idf = np.log((1 + len(texts)) / (1 + occurs)) + 1
    for row, buckets in enumerate(every):
        for part in (0, 1):
            own = [columns.column[bucket] for bucket in buckets if bucket // half == part]
            value = np.zeros(len(columns.idf))
            for column in own:
                if column >= 0:
                    value[column] += 1
            value[value > 0] = (1 + np.log(value[value > 0])) * idf[value > 0]
            out[row] += value / (np.linalg.norm(value) or 1)
    return out


def test_weights_and_directions_are_those_of_a_plain_computation():
    texts, _ = corpus(60)
    projection = fit_projection([texts], d=10)
    expected = plain_weights(texts, projection)
    found = _weighted(_counts(texts), projection.column, projection.idf)
    np.testing.assert_allclose(found.toarray(), expected, atol=1e-5)
    _, _, turned = np.linalg.svd(expected, full_matrices=False)
    leading = projection.directions[:, :3].T @ turned[:3].T  # well parted singular values
    np.testing.assert_allclose(np.abs(np.diag(leading)), 1, atol=0.02)
    exact = expected @ projection.directions
    exact /= np.linalg.norm(exact, axis=1, keepdims=True)
    np.testing.assert_allclose(projection.embed(texts), exact, atol=1e-5)


def test_texts_of_one_topic_are_near_one_another():
    texts, topic = corpus(300)
    vectors = fit_projection([texts], d=32).embed(texts)
    assert vectors.dtype == np.float32
    assert vectors.shape == (300, 32)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    similarity = vectors @ vectors.T
    np.fill_diagonal(similarity, -1)
    assert (topic[similarity.argmax(axis=1)] == topic).mean() > 0.98
    shuffled = np.random.default_rng(0).permutation(topic)  # the control
    assert (shuffled[similarity.argmax(axis=1)] == shuffled).mean() < 0.5


@pytest.mark.parametrize("sample", [16, 10_000])
@pytest.mark.slow
def test_batches_change_nothing(sample, monkeypatch):
    texts, _ = corpus(200)
    whole = fit_projection([texts], d=16, seed=3, sample=sample)
    cut = fit_projection((texts[at : at + 23] for at in range(0, 200, 23)), d=16, seed=3, sample=sample)
    monkeypatch.setattr(module, "BATCH", 7)
    small = fit_projection([texts], d=16, seed=3, sample=sample)
    for other in (cut, small):
        np.testing.assert_array_equal(whole.column, other.column)
        np.testing.assert_array_equal(whole.idf, other.idf)
        np.testing.assert_array_equal(whole.directions, other.directions)
    vectors = whole.embed(texts)
    np.testing.assert_allclose(vectors[37], whole.embed([texts[37]])[0], atol=1e-6)
    assert np.abs(fit_projection([texts], d=16, seed=4, sample=16).directions).sum() > 0


def test_a_sample_bounds_what_is_held(monkeypatch):
    held = []
    offer = module._Sample.offer

    def watched(self, counts, start):
        offer(self, counts, start)
        held.append(self.held)

    monkeypatch.setattr(module._Sample, "offer", watched)
    monkeypatch.setattr(module, "BATCH", 10)
    texts, _ = corpus(400)
    fit_projection([texts], d=8, sample=25)
    assert max(held) <= 2 * 25
    assert len(held) == 40


def test_columns_are_bounded_by_the_most_frequent(monkeypatch):
    monkeypatch.setattr(module, "COLUMNS", 50)
    texts, _ = corpus(100)
    projection = fit_projection([texts], d=8)
    assert len(projection.idf) == 50
    assert projection.directions.shape == (50, 8)
    assert np.isfinite(projection.embed(texts)).all()


def test_chinese_is_told_apart_by_its_characters():
    food = ["今天我们一起做红烧肉和米饭", "红烧肉需要酱油和糖才好吃", "米饭要用水煮熟再吃"]
    code = ["这个程序计算数组的平均值", "函数返回数组中最大的数值", "程序运行时函数报告错误"]
    vectors = fit_projection([food + code], d=4).embed(food + code)
    within = [vectors[0] @ vectors[1], vectors[3] @ vectors[4]]
    across = [vectors[a] @ vectors[b] for a in range(3) for b in range(3, 6)]
    assert min(within) > max(across)


def test_texts_without_a_known_feature_are_like_nothing_but_their_copies():
    texts, _ = corpus(100)
    projection = fit_projection([texts], d=64)
    lost = projection.embed(["", "qqq zzz", "", "qqq zzz", "xxyyzz", texts[0]])
    similarity = lost @ lost.T
    assert similarity[0, 2] == pytest.approx(1, abs=1e-6)
    assert similarity[1, 3] == pytest.approx(1, abs=1e-6)
    assert np.abs(similarity[[0, 0, 1, 0, 1], [1, 4, 4, 5, 5]]).max() < 0.5


@pytest.mark.parametrize("texts", [["one"], ["", ""], ["same words", "same words"], ["a", "b", "c"]])
def test_few_or_empty_texts_still_have_vectors(texts):
    vectors = fit_projection([texts], d=12).embed(texts)
    assert vectors.shape == (len(texts), 12)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        ([], {}, "no text"),
        ([[]], {}, "no text"),
        ([["a"]], {"d": 0}, "d and sample"),
        ([["a"]], {"sample": 0}, "sample"),
    ],
)
def test_bad_input_is_named(batches, options, message):
    with pytest.raises(ValueError, match=message):
        fit_projection(batches, **options)
