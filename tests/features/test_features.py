"""Features: the contract, and what each finds."""

import json

import numpy as np
import pytest

from rulesel.features import Examples, Feature
from rulesel.features.embedding import Embedding
from rulesel.features.overlap import Overlap
from rulesel.features.tags import Tags
from rulesel.plugins import find, names
from rulesel.records import Batch

TEXTS = [f"{subject} number {i} is here" for i in range(20) for subject in ("cats", "engines", "sonnets")]
RUN = "one two three four five six seven eight nine ten eleven twelve thirteen"


def examples(texts=TEXTS, prompts=None, size=7, **needed):
    prompts = prompts or [None] * len(texts)

    def read(numbers):
        for start in range(0, len(numbers), size):
            some = numbers[start : start + size].tolist()
            yield Batch([str(i) for i in some], [prompts[i] for i in some], [texts[i] for i in some])

    return Examples(len(texts), read, needed)


def everything(feature, given):
    return np.concatenate(list(feature.compute(given, np.arange(given.n))))


def test_every_feature_is_found_by_its_file_and_says_what_it_is_for():
    for name in names("rulesel.features"):
        assert find("rulesel.features", name, Feature).summary


def test_the_projection_gives_unit_vectors_whatever_the_batches():
    feature = Embedding(size=8)
    vectors = everything(feature, examples())
    assert vectors.shape == (60, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    again = everything(feature, examples(size=50))
    np.testing.assert_array_equal(vectors, again)


def test_only_the_missing_are_embedded_and_they_fit_the_others():
    feature, given = Embedding(size=8), examples()
    some = np.array([3, 4, 41])
    part = np.concatenate(list(feature.compute(given, some)))
    np.testing.assert_array_equal(part, everything(feature, given)[some])


def test_a_projection_is_bound_to_its_corpus_and_a_model_to_its_files(tmp_path):
    assert Embedding().whole
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    one = Embedding(model=str(tmp_path))
    assert not one.whole
    identity = one.id
    moved = tmp_path.with_name("moved")
    tmp_path.rename(moved)
    same = Embedding(model=str(moved))
    assert same.id == identity
    (moved / "model.safetensors").write_bytes(b"other weights")
    assert Embedding(model=str(moved)).id != same.id


def test_tags_are_the_clusters_of_the_embedding():
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1, 2], 10)
    vectors = (np.eye(3, 6)[kinds] + 0.01 * rng.normal(size=(30, 6))).astype(np.float32)
    vectors[4] = np.nan
    label = everything(Tags(clusters=3), examples(["x"] * 30, embedding=vectors))[:, 0]
    assert np.isnan(label[4])
    for kind in range(3):
        assert len(set(label[(kinds == kind) & ~np.isnan(label)])) == 1
    assert len(set(label[~np.isnan(label)])) == 3


def against(tmp_path, *records):
    path = tmp_path / "test.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    return Overlap(against=(str(path),))


def test_a_copied_run_of_words_shows_and_a_short_answer_does_not(tmp_path):
    feature = against(
        tmp_path,
        {"instruction": "How many legs has a spider?", "output": "Eight."},
        {"instruction": "Count up.", "output": RUN},
    )
    given = examples(
        [f"Well: {RUN}, and so on", "Eight.", "Eight.", "nothing in common at all"],
        ["Count for me.", "How many legs has a spider?", "How many legs has an octopus?", "Hello?"],
    )
    share = everything(feature, given)[:, 0]
    assert share[0] == pytest.approx(1 / 6)  # runs: one of the prompt, five of the response
    assert share[1] == 1
    assert share[2] == share[3] == 0


def test_overlap_is_known_by_the_files_bytes(tmp_path):
    one = against(tmp_path, {"instruction": "a", "output": "b"}).id
    assert against(tmp_path, {"instruction": "a", "output": "b"}).id == one
    assert against(tmp_path, {"instruction": "a", "output": "c"}).id != one
