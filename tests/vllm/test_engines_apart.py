"""What needs another engine: no exact ids, a small cache, a broken model."""

import numpy as np
import pytest

from rulesel.errors import ModelError
from rulesel.llm.vllm import Vllm
from rulesel.llm.vllm_setup import fault, version

LABELS = [18, 19, 20, 21, 22, 23]


@pytest.fixture
def opened(tiny):
    engines = []

    def one(**parameters):
        engines.append(Vllm(tiny, **({"max_tokens": 600, "dtype": "float32", "cache_bytes": 16 << 20} | parameters)))
        return engines[-1]

    yield one
    for engine in engines:
        engine.close()
        engine.close()


@pytest.fixture(scope="module")
def prompts():
    rng = np.random.default_rng(0)
    documents = [rng.integers(30, 1900, n).tolist() for n in rng.integers(100, 400, 60)]
    return documents, [rng.integers(30, 1900, n).tolist() for n in (5, 20, 20, 33)]


def test_without_a_prefix_cache_the_answers_are_the_same_and_without_exact_ids_they_are_renormalised(opened, prompts):
    exact = opened().next_token(prompts[0][:10], prompts[1], LABELS)
    alone = opened(arguments={"enable_prefix_caching": False})
    np.testing.assert_allclose(
        alone.next_token(prompts[0][:10], prompts[1], LABELS).logprobs, exact.logprobs, atol=1e-5
    )
    assert alone.counters.cached == 0
    fallback = opened(exact=False).next_token(prompts[0][:10], prompts[1], LABELS)
    p = np.exp(exact.logprobs)
    np.testing.assert_allclose(np.exp(fallback.logprobs), p / p.sum(axis=-1, keepdims=True), atol=1e-5)
    assert (exact.exact, fallback.exact) == (True, False)


def test_a_cache_smaller_than_the_corpus_shares_almost_as_much(opened, prompts):
    documents, questions = prompts
    each = 2 * 4 * 2 * 32  # layers, bytes of a float32, keys and values, width of a head
    corpus = sum(map(len, documents)) + len(documents) * sum(map(len, questions))
    large = opened(cache_bytes=2 * corpus * each)
    small = opened(cache_bytes=max(corpus * each // 8, 32 * 60 * each))
    assert small.capacity < sum(map(len, documents)) / 2 < corpus < large.capacity
    answers = [engine.next_token(documents, questions, LABELS) for engine in (large, small)]
    assert small.counters.cached >= 0.8 * large.counters.cached
    np.testing.assert_allclose(answers[0].logprobs, answers[1].logprobs, atol=1e-5)


def test_a_broken_model_is_one_line(tiny, tmp_path):
    (tmp_path / "config.json").write_text((tiny / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match=r"vLLM cannot load .*") as caught:
        Vllm(tmp_path, max_tokens=600)
    assert "\n" not in str(caught.value)


def test_the_installation_is_sound():
    assert fault() is None
    assert version()
