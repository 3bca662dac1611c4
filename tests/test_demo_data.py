from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

DATA = Path(__file__).parents[1] / "data"
README = (DATA / "README.md").read_text(encoding="utf-8")


def records(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (DATA / "demo" / name).read_text(encoding="utf-8").splitlines()]


def test_the_corpus_has_240_alpaca_records_with_text_in_them() -> None:
    corpus = records("corpus.jsonl")
    assert len(corpus) == 240
    for record in corpus:
        assert list(record) == ["instruction", "input", "output"]
        assert all(isinstance(value, str) for value in record.values())
        assert str(record["instruction"]).strip()
        assert str(record["output"]).strip()


def test_no_record_and_no_answer_appears_twice() -> None:
    corpus = records("corpus.jsonl")
    assert len({json.dumps(record, sort_keys=True) for record in corpus}) == len(corpus)
    assert len({record["output"] for record in corpus}) == len(corpus)


def test_the_truth_has_one_line_a_record_in_order() -> None:
    truth = records("truth.jsonl")
    assert [line["row"] for line in truth] == list(range(240))
    for line in truth:
        assert list(line) == ["row", "flaw", "note"]
        assert bool(line["note"]) == (line["flaw"] is not None), line


def echoed(record: dict[str, object]) -> float:
    """Share of the answer's distinct words that stand in the question."""
    asked = set(re.findall(r"\w+", f"{record['instruction']} {record['input']}".lower()))
    answered = set(re.findall(r"\w+", str(record["output"]).lower()))
    return len(answered & asked) / len(answered)


def test_truth_and_corpus_belong_together() -> None:
    pairs = list(zip(records("corpus.jsonl"), records("truth.jsonl"), strict=True))
    copied = [echoed(record) for record, line in pairs if line["flaw"] == "copied_prompt"]
    sound = [echoed(record) for record, line in pairs if line["flaw"] is None]
    assert min(copied) > 0.45
    assert sum(sound) / len(sound) < 0.35
    refused = [str(record["output"]).lower() for record, line in pairs if line["flaw"] == "refusal"]
    assert all(re.search(r"\b(unable|not able|cannot|can't)\b", answer) for answer in refused)


def test_about_half_is_flawed_and_the_readme_counts_the_flaws() -> None:
    flaws = Counter(line["flaw"] for line in records("truth.jsonl"))
    sound = flaws.pop(None)
    assert sound == 124
    assert flaws.total() == 116
    table = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", README, flags=re.MULTILINE))
    assert {name: int(count) for name, count in table.items()} == dict(flaws)


def test_length_alone_does_not_tell_the_sound_from_the_flawed() -> None:
    pairs = list(zip(records("corpus.jsonl"), records("truth.jsonl"), strict=True))
    sound = [len(str(record["output"])) for record, line in pairs if line["flaw"] is None]
    flawed = [len(str(record["output"])) for record, line in pairs if line["flaw"] is not None]
    wins = sum((a > b) + 0.5 * (a == b) for a in sound for b in flawed)
    assert 0.4 < wins / (len(sound) * len(flawed)) < 0.6


def test_the_readme_names_every_file_and_keeps_the_demos_sha256() -> None:
    for file in (DATA / "demo").iterdir():
        sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
        assert re.search(rf"`demo/{re.escape(file.name)}`.*\| MIT \| `{sha256}` \|", README), file.name
    assert {path.name for path in DATA.iterdir()} <= {"README.md", "demo", "rules"}
    assert all(path.suffix == ".yaml" for path in (DATA / "rules").iterdir())


def test_the_demo_stays_small() -> None:
    assert (DATA / "demo" / "corpus.jsonl").stat().st_size < 250_000
