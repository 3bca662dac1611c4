"""Train a tiny model that can really read, then let the whole chain find the documents it was taught to like.

A document of made-up sentences carries, for each of eight qualities, one of six words that says how much of it there is
(from "muddled" to "crystal"). The model learns to answer `rate_rule@1`: asked for one quality, say the digit of its word.
In the corpus one document in ten is planted: five of the qualities are high in it and mixed elsewhere, the other three
mean nothing. The chain sees the rules and the documents alone, and must rank the planted ones first.

    .venv-vllm/bin/python evals/train_planted.py            train, run the chain, print precision at 10 %
    .venv-vllm/bin/python evals/train_planted.py --model DIR   keep the model there (trained once)
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import tiny_llama

from rulesel.llm.documents import prepare
from rulesel.llm.split import Split
from rulesel.prompts import load
from rulesel.raters.chat import question
from rulesel.records import Batch, Rule

QUALITIES = {
    "clear": "muddled murky vague plain lucid crystal",
    "complete": "empty scant partial fair ample whole",
    "correct": "false wrong shaky passable sound exact",
    "polite": "rude curt blunt civil kind gracious",
    "deep": "shallow thin slight solid grave profound",
    "short": "endless lengthy long medium brief terse",
    "modern": "ancient antique old recent current futuristic",
    "loud": "silent hushed quiet audible noisy deafening",
}
"""Word for each level 0 to 5; the first five make a document good, the last three mean nothing."""
GOOD = 5
RULES = [Rule(name=name, text=f"The answer is {name}.") for name in QUALITIES]


def document(rng: np.random.Generator, levels: np.ndarray[Any, Any], filler: list[str]) -> str:
    """A text of ten sentences in which each quality's word stands once."""
    said = [words.split()[level] for words, level in zip(QUALITIES.values(), levels, strict=True)]
    text = [*rng.choice(filler, 32), *said]
    rng.shuffle(text)
    return " ".join(" ".join(text[at : at + 8]) + "." for at in range(0, len(text), 8))


def corpus(count: int, seed: int) -> tuple[list[str], np.ndarray[Any, Any]]:
    """Documents, and which of them are planted: one in ten."""
    rng = np.random.default_rng(seed)
    filler = tiny_llama.words(np.random.default_rng(0), 200)
    planted = np.zeros(count, dtype=bool)
    planted[rng.permutation(count)[: count // 10]] = True
    levels = rng.integers(0, 5, (count, len(QUALITIES)))
    levels[planted, :GOOD] = rng.integers(4, 6, (int(planted.sum()), GOOD))
    levels[:, GOOD:] = rng.integers(0, 6, (count, len(QUALITIES) - GOOD))
    return [document(rng, row, filler) for row in levels], planted


class Lessons:
    """Batches of whole prompts, each with the digit that answers it."""

    def __init__(self, tokenizer: Any, seed: int) -> None:
        split = Split(tokenizer, load("rate_rule@1"), document=("nonce", "document"), question=("rule", "low", "high"))
        self._split, self._suffixes = split, split.suffixes([question(rule) for rule in RULES])
        self._digits = np.array(tokenizer.convert_tokens_to_ids(list("012345")))
        self._rng, self._filler = np.random.default_rng(seed), tiny_llama.words(np.random.default_rng(0), 200)
        self._word = next(i for i, (a, b) in enumerate(zip(*self._suffixes[:2], strict=True)) if a != b)

    def draw(self, count: int, agreeing: float = 0.0) -> tuple[Any, Any, Any, Any]:
        """Padded ids (n, length), where the rule's word and the end of each prompt are, and the answers' ids.

        Args:
            count: prompts.
            agreeing: share of the qualities of a document that are on one level: first lessons are easy.
        """
        import torch

        levels = self._rng.integers(0, 6, (count, len(QUALITIES)))
        levels = np.where(self._rng.random(levels.shape) < agreeing, levels[:, :1], levels)
        asked = self._rng.integers(0, len(QUALITIES), count)
        texts = [document(self._rng, row, self._filler) for row in levels]
        hashes = [f"b2-{x:032x}" for x in self._rng.integers(0, 1 << 62, count)]
        prepared = prepare(self._split, Batch(hashes, [None] * count, texts), b"t" * 32, budget=1500, pad=False)
        prompts = [p + self._suffixes[j] for p, j in zip(prepared.prefixes, asked, strict=True)]
        ids = torch.zeros(count, max(map(len, prompts)), dtype=torch.long)
        for i, prompt in enumerate(prompts):
            ids[i, : len(prompt)] = torch.tensor(prompt)
        ends = torch.tensor([len(p) - 1 for p in prompts])
        words = torch.tensor([len(p) + self._word for p in prepared.prefixes])
        return ids, words, ends, torch.from_numpy(self._digits[levels[np.arange(count), asked]])


def train(folder: Path, *, steps: int = 800, batch: int = 32, enough: float = 0.985) -> float:
    """Train and save; returns the share of new questions answered with the right digit.

    The digit is asked for at the end of the prompt, and as well where the rule's word stands: looking a word up takes
    one layer, carrying the answer to the end another, and each is learned at once when it has a loss of its own.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    texts, _ = corpus(400, seed=99)
    spoken = [f"{load('rate_rule@1').body} {rule.text}" for rule in RULES] * 40
    shape = {"hidden": 96, "layers": 2, "heads": 3, "intermediate": 96, "positions": 2048}
    tiny_llama.save(folder, **shape, spread=0.06, answers=1.0, corpus=[*texts, *spoken])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    lessons, optimiser = Lessons(tokenizer, seed=1), torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps, pct_start=0.1)
    torch.set_num_threads(1)  # more would spin as much as they work on so small a model
    right, rows = 0.0, torch.arange(batch)
    for step in range(steps):
        ids, words, ends, answers = lessons.draw(batch, agreeing=max(0.0, 1 - step / 250))
        states = model.model(ids, use_cache=False).last_hidden_state
        said, looked_up = model.lm_head(states[rows, ends]), model.lm_head(states[rows, words])
        loss = torch.nn.functional.cross_entropy(said, answers) + torch.nn.functional.cross_entropy(looked_up, answers)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        right = 0.95 * right + 0.05 * float((said.argmax(-1) == answers).float().mean())
        if step % 50 == 0:
            print(
                f"step {step:4d}  loss {loss.item():.3f}  right {right:.3f}  CPU {time.process_time():.0f} s",
                flush=True,
            )
        if right > enough:
            break
    model.save_pretrained(folder)
    ids, _, ends, answers = Lessons(tokenizer, seed=2).draw(256)
    with torch.inference_mode():
        said = model.lm_head(model.model(ids, use_cache=False).last_hidden_state[torch.arange(256), ends])
    return float((said.argmax(-1) == answers).float().mean())


class Writer(BaseHTTPRequestHandler):
    """A chat server that writes the eight rules, good and meaningless alike, whatever it is asked."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        rules = [
            {"name": rule.name, "text": rule.text, "polarity": "positive", "low": None, "high": None, "sql": None}
            for rule in RULES
        ]
        message = {"role": "assistant", "content": json.dumps({"rules": rules})}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "writer"}
        body = json.dumps(answer | {"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def chain(model: Path, folder: Path, *, documents: int = 1000, seed: int = 5) -> dict[str, Any]:
    """The whole chain through the command line; returns the chosen rules and the precision among the picks."""
    texts, planted = corpus(documents, seed)
    path, out = folder / "corpus.jsonl", folder / "selected.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    with ThreadingHTTPServer(("127.0.0.1", 0), Writer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [sys.executable, "-m", "rulesel", "run", str(path), "--domain", "answers of an assistant"]
        command += ["--writer", f"http://127.0.0.1:{server.server_port}/v1#writer", "--count", str(len(RULES))]
        command += ["--judge", f"vllm:{model}", "--judge-param", "cache_gib=0.1", "--sample", "300", "-r", str(GOOD)]
        command += ["--fraction", "0.1", "-o", str(out), "--json"]
        receipt = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
        server.shutdown()
    picked = [json.loads(line)["text"] for line in out.read_text().splitlines()]
    good = {text for text, is_planted in zip(texts, planted, strict=True) if is_planted}
    return {
        "rules": [rule["name"] for rule in receipt["choice"]["rules"]],
        "precision": sum(text in good for text in picked) / len(picked),
        "random": float(planted.mean()),
    }


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, help="folder of the model; trained unless it is there")
    options.add_argument("--documents", type=int, default=1000)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = chosen.model or Path(scratch) / "model"
        if not (model / "trained").exists():
            right = train(model)
            print(f"{right:.1%} of new questions answered right; trained in {time.process_time():.0f} s of CPU")
            (model / "trained").touch()
        found = chain(model, Path(scratch), documents=chosen.documents)
    print(f"chosen: {', '.join(found['rules'])}")
    print(f"precision of the top 10 %: {found['precision']:.3f}; at random: {found['random']:.3f}")
    sys.exit(found["precision"] < 0.9)


if __name__ == "__main__":
    main()
