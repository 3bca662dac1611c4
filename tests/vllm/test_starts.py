"""Starts of the answer on the real engine: against transformers with the tiny model, and on a real small model."""

import os
from pathlib import Path

import numpy as np
import pytest

from rulesel.llm.documents import prepare
from rulesel.llm.labels import DIGITS
from rulesel.llm.starts import best
from rulesel.prompts import load
from rulesel.raters import rater_for
from rulesel.raters.chat import question
from rulesel.records import Batch, Status

REAL = "RULESEL_TEST_MODEL"
"""Environment variable with the folder of a small instruction-tuned model."""


def test_masses_are_those_of_transformers_after_the_same_ids(rater, batch, rules, lent, tiny):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    few = Batch(batch.hashes[6:9], batch.prompts[6:9], batch.responses[6:9])
    found = {one.start: one for one in rater.try_starts(few, rules[0], lent)}
    tokenizer, model = AutoTokenizer.from_pretrained(tiny), AutoModelForCausalLM.from_pretrained(tiny).eval()
    digits = tokenizer.convert_tokens_to_ids(list(DIGITS))
    opened = rater.open()
    values = prepare(opened.split, few, lent.secret, budget=opened.budget, pad=False).values
    for start in ("", "Rating: ", "Score:"):
        mass = []
        for one in values:
            turns = [{"role": r, "content": c} for r, c in load("rate_rule@1").messages(**one, **question(rules[0]))]
            ids = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            ids = [*ids, *tokenizer(start, add_special_tokens=False)["input_ids"]]
            with torch.inference_mode():
                mass.append(float(torch.softmax(model(torch.tensor([ids])).logits[0, -1].double(), -1)[digits].sum()))
        assert found[start].mean == pytest.approx(np.mean(mass), abs=1e-3)


def test_a_real_small_model_rates_at_the_first_try(lent, rules):
    folder = Path(os.environ.get(REAL) or "/nowhere")
    if not (folder / "config.json").is_file():
        pytest.skip(f"NO REAL MODEL WAS TRIED: {REAL} names no model folder")
    rater = rater_for(f"vllm:{folder}")
    texts = [f"The capital of country number {i} is a city, and here is why it became one." for i in range(12)]
    batch = Batch([f"b2-{i:032x}" for i in range(12)], ["Name the capital."] * 12, texts)
    try:
        chosen = best(rater.try_starts(batch, rules[0], lent))
        rater = rater.starting(chosen.start, chosen.mass)
        (ratings,) = rater.rate([batch], rules, lent)
    finally:
        rater.close()
    assert (ratings.status == Status.ok).mean() >= 0.95
