"""Identities of what stands in stores never change by accident: ratings, grades and vectors are found by them.

`identities.json` holds what they were; an entry changes only together with a version, on purpose, and what was paid for
under the old one is then asked for again.
"""

import json
from pathlib import Path

import pytest

from rulesel.corpus.reader import content_hash
from rulesel.features.embedding import Embedding
from rulesel.features.overlap import Overlap
from rulesel.features.tags import Tags
from rulesel.judges import judge_for
from rulesel.raters import rater_for
from rulesel.records import Rule
from rulesel.rules.packs import load_rules

KNOWN = json.loads((Path(__file__).parent / "identities.json").read_text())


@pytest.fixture
def folder(tmp_path):
    """What a model's folder is known by."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 8)
    return folder


def identities(folder, evaluation):
    server = "http://127.0.0.1:8000/v1#m"
    return {
        "chat": rater_for(server).id,
        "chat with parameters": rater_for(server, document_chars=1000, max_tokens=3).id,
        "chat reworded": rater_for(server).reworded().id,
        "chat by litellm": rater_for("anthropic/claude").id,
        "signals": rater_for("signals").id,
        "vllm": rater_for(f"vllm:{folder}").id,
        "vllm with parameters": rater_for(f"vllm:{folder}", document_tokens=512, pad=True).id,
        "vllm reworded": rater_for(f"vllm:{folder}").reworded().id,
        **{f"rubric {name}": judge_for(name, server).id for name in ("overall", "alpagasus", "deita-quality")},
        "rubric overall about": judge_for("overall", server, about="mathematics").id,
        "pairwise": judge_for("pairwise", server).id,
        "embedding": Embedding().id,
        "embedding of a model": Embedding(model=str(folder)).id,
        "tags": Tags(clusters=7).id,
        "overlap": Overlap(against=(str(evaluation),)).id,
        "rule": Rule(name="short", text="The response is short.").id,
        "rule with all fields": Rule(
            name="apologises",
            text="The response apologises.",
            polarity="negative",
            anchors={"low": "It does not.", "high": "It does."},
            sql="n_words / 100.0",
        ).id,
        "pack": load_rules("pack:general-instructions").id,
        "content": content_hash("What is 2 + 2?", "4"),
        "content without a prompt": content_hash(None, "A text."),
    }


def test_no_identity_has_changed(folder, tmp_path):
    evaluation = tmp_path / "evaluation.jsonl"
    evaluation.write_text('{"text": "one two three"}\n')
    assert identities(folder, evaluation) == KNOWN
