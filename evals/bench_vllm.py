"""How fast a corpus is rated in this process, against the ways it is usually done.

    .venv-vllm/bin/python evals/bench_vllm.py              every line but memory; about six quiet minutes on two cores
    .venv-vllm/bin/python evals/bench_vllm.py --memory     memory with a fake engine (1 M documents) and the real one

A random Llama of hidden 512 and 6 layers in bfloat16, documents of 600 tokens, ten rules of 40-token suffixes, blocks of
32. All arms take turns in one process; ratios are taken within a turn, and given as median (lowest to highest).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import tiny_llama

from rulesel.engines import make_job
from rulesel.engines.local import rate_shards
from rulesel.engines.parts import read_part
from rulesel.llm.fake_tokens import ByteTokenizer, FakeTokenModel
from rulesel.prompts import parse
from rulesel.raters import Lent, rater_for
from rulesel.raters import vllm as vllm_rater
from rulesel.records import Batch, Rule

RULES = 10
SECRET = b"b" * 32
PROMPT = parse(
    "bench@1",
    '+++\ninputs = ["nonce", "document", "rule"]\nreply = "4"\n+++\n[system]\nYou rate documents.\n[user]\n'
    "=== $nonce START OF DOCUMENT\n$document\n=== $nonce END OF DOCUMENT\n\n$rule",
)
"""Short, so that documents take 600 tokens and suffixes 40; the work is the same as with the prompts that ship."""


def lent() -> Lent:
    return Lent(SECRET, lambda name: sys.exit(f"asked for {name}"))


def batch_of(texts: list[str], first: int = 0) -> Batch:
    return Batch([f"b2-{first + i:032x}" for i in range(len(texts))], [None] * len(texts), texts)


class Bench:
    """The model, the workload, and one method an arm."""

    def __init__(self, folder: Path, documents: int) -> None:
        self.folder = tiny_llama.save(folder, hidden=512, layers=6, heads=8, positions=2048, answers=6.0)
        vllm_rater._question = lambda rule: {"rule": rule.text}
        vllm_rater.load = lambda _ref: PROMPT
        self.raters = {pad: self._rater(pad=pad) for pad in (False, True)}
        opened = self.raters[False].open()
        self.raters[True].use(opened.model, opened.tokenizer, 2048)
        self.model, self.tokenizer = opened.model, opened.tokenizer
        self.rules = [Rule(name=f"r{j}", text=self._words(36 - 4, 50 + j)) for j in range(RULES)]
        self.suffixes = opened.split.suffixes([{"rule": rule.text} for rule in self.rules])
        self.texts = [self._words(555, 1000 + i) for i in range(documents)]
        nonce = "0123456789abcdef"
        self.prefixes = opened.split.prefixes([{"nonce": nonce, "document": text} for text in self.texts])
        self.labels = [i for variant in opened.variants for i in variant]

    def _rater(self, *, pad: bool) -> Any:
        return rater_for(
            f"vllm:{self.folder}",
            dtype="bfloat16",
            document_tokens=800,
            pad=pad,
            cache_gib=0.5,
            arguments={"disable_log_stats": False},
        )

    def _words(self, tokens: int, seed: int) -> str:
        text = next(iter(tiny_llama.documents(1, tokens, seed=seed)))
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"][:tokens]
        return str(self.tokenizer.decode(ids)).rstrip(" .") + "."

    def rulesel(self, count: int, *, pad: bool) -> float:
        """Scores a second of the rater, reading text and yielding ratings."""
        self.model.forget()
        started = time.perf_counter()
        list(self.raters[pad].rate([batch_of(self.texts[:count])], self.rules, lent()))
        return count * RULES / (time.perf_counter() - started)

    def rule_first(self, count: int) -> float:
        """The same engine, one token and exact log-probabilities, but every rule before its document."""
        self.model.forget()
        started = time.perf_counter()
        for document in self.prefixes[:count]:
            self.model.next_token(self.suffixes, [document], self.labels)
        return count * RULES / (time.perf_counter() - started)

    def generate(self, count: int, *, width: int | None) -> float:
        """Transformers' generate, rule first, four new tokens, batches of eight."""
        import torch

        prompts = [suffix + document for document in self.prefixes[:count] for suffix in self.suffixes]
        pad = self.tokenizer.pad_token_id
        started = time.perf_counter()
        with torch.inference_mode():
            for at in range(0, len(prompts), 8):
                some = prompts[at : at + 8]
                longest = width or max(map(len, some))
                ids = torch.tensor([[pad] * (longest - len(p)) + p for p in some])
                mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in some])
                self.rival.generate(
                    ids, attention_mask=mask, max_new_tokens=4, min_new_tokens=4, do_sample=False, pad_token_id=pad
                )
        return len(prompts) / (time.perf_counter() - started)

    def kept_cache(self, count: int) -> float:
        """A transformers loop that computes each document once and its ten suffixes in one batch over that cache."""
        import torch

        longest = max(map(len, self.suffixes))
        ids = torch.tensor([s + [0] * (longest - len(s)) for s in self.suffixes])
        ends = torch.tensor([len(s) - 1 for s in self.suffixes])
        started = time.perf_counter()
        with torch.inference_mode():
            for document in self.prefixes[:count]:
                cache = self.rival(torch.tensor([document]), use_cache=True, logits_to_keep=1).past_key_values
                cache.batch_repeat_interleave(RULES)
                states = self.rival.model(ids, past_key_values=cache, use_cache=True).last_hidden_state
                logits = self.rival.lm_head(states[torch.arange(RULES), ends])
                torch.log_softmax(logits.float(), -1)[:, self.labels].numpy()
        return count * RULES / (time.perf_counter() - started)

    def load_rival(self) -> None:
        import torch
        from transformers import AutoModelForCausalLM

        self.rival = AutoModelForCausalLM.from_pretrained(self.folder, dtype=torch.bfloat16).eval()


def speed(bench: Bench, turns: int, documents: int) -> None:
    bench.load_rival()
    print(
        f"prefix {np.mean([len(p) for p in bench.prefixes]):.0f} tokens, suffix {np.mean([len(s) for s in bench.suffixes]):.0f}"
    )
    few = max(4, documents // 8)
    arms: dict[str, Callable[[], float]] = {
        "rulesel": lambda: bench.rulesel(documents, pad=False),
        "rulesel, padded to blocks": lambda: bench.rulesel(documents, pad=True),
        "same engine, rule first": lambda: bench.rule_first(few),
        "transformers generate, padded to 1024": lambda: bench.generate(few, width=1024),
        "transformers generate, padded to longest": lambda: bench.generate(few, width=None),
        "transformers, document's cache kept": lambda: bench.kept_cache(documents),
    }
    found: dict[str, list[float]] = {name: [] for name in arms}
    bench.rulesel(4, pad=False), bench.kept_cache(2)
    for turn in range(turns):
        for name, arm in arms.items():
            found[name].append(arm())
        rates = ", ".join(f"{rates[-1]:.1f}" for rates in found.values())
        print(f"turn {turn}, load {os.getloadavg()[0]:.1f}: {rates}", flush=True)
    print(f"\n{'arm':42} scores/s   rulesel is … times as fast    padded")
    for name, rates in found.items():
        plain, padded = (
            [a / b for a, b in zip(found[ours], rates, strict=True)]
            for ours in ("rulesel", "rulesel, padded to blocks")
        )
        print(f"{name:42} {statistics.median(rates):8.1f}   {spread(plain):28} {spread(padded)}")


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def counters(bench: Bench, documents: int) -> None:
    """Prompt tokens that went through the model, as the engine's own metrics have it, against the least possible."""
    opened = bench.raters[False].open()
    for pad in (False, True):
        before = metrics(opened.model)
        bench.rulesel(documents, pad=pad)
        after = metrics(opened.model)
        computed = (after["queries"] - before["queries"]) - (after["hits"] - before["hits"])
        least = sum(map(len, bench.prefixes[:documents])) + documents * sum(map(len, bench.suffixes))
        print(
            f"computed / (each document once + each suffix once), pad={pad}: {computed / least:.3f} ({computed:,.0f} of {least:,})"
        )


def metrics(model: Any) -> dict[str, float]:
    found = {m.name: m.value for m in model._llm.get_metrics() if m.name.startswith("vllm:prefix_cache")}
    return {"queries": found["vllm:prefix_cache_queries"], "hits": found["vllm:prefix_cache_hits"]}


def outside(bench: Bench, documents: int) -> None:
    """Share of a run over shards, Parquet in and Parquet out, that is not spent inside LLM.generate."""
    with tempfile.TemporaryDirectory() as root:
        rater = bench.raters[False]
        job = make_job(
            Path(root), f"vllm:{bench.folder}", rater, bench.rules, SECRET, [batch_of(bench.texts[:documents])]
        )
        bench.model.forget()
        before, started = bench.model.counters.seconds, time.perf_counter()
        rate_shards(job, job.missing(), rater=rater)
        wall = time.perf_counter() - started
        inside = bench.model.counters.seconds - before
        print(f"wall time outside LLM.generate: {1 - inside / wall:.2%} of {wall:.1f} s")


def small_cache(folder: Path, bench: Bench, documents: int) -> None:
    """Hit rate of a cache that holds an eighth of the corpus against one that holds it all."""
    from rulesel.llm.vllm import Vllm

    tokens = sum(map(len, bench.prefixes[:documents])) + documents * sum(map(len, bench.suffixes))
    each = 2 * 2 * 6 * 4 * 64
    rates = []
    for size in (2 * tokens * each, max(tokens // 8, 2000) * each):
        engine = Vllm(folder, max_tokens=1900, dtype="bfloat16", cache_bytes=size)
        engine.next_token(bench.prefixes[:documents], bench.suffixes, bench.labels)
        rates.append(engine.counters.cached / engine.counters.prompt)
        print(f"cache of {engine.capacity:,} tokens for {tokens:,}: {rates[-1]:.1%} of prompt tokens found in it")
        engine.close()
    print(f"small over large: {rates[1] / rates[0]:.3f}")


def resident() -> float:
    """MiB in use now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory_fake(documents: int) -> None:
    """A million documents from Parquet through an engine that is none."""
    rules = [Rule(name=f"r{j}", text=f"Statement {j}.") for j in range(3)]

    def stream() -> Iterator[Batch]:
        for first in range(0, documents, 1000):
            yield batch_of(
                [f"document {i} " + "word " * (10 + i % 20) for i in range(first, min(first + 1000, documents))], first
            )

    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "model"
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192}))
        (folder / "model.safetensors").write_bytes(b"none")
        rater = rater_for(f"vllm:{folder}")
        rater.use(FakeTokenModel(), ByteTokenizer(), 8192)
        started, base = time.perf_counter(), resident()
        job = make_job(Path(root), f"vllm:{folder}", rater, rules, SECRET, stream())
        print(
            f"{documents:,} documents in {job.shards} shards: {time.perf_counter() - started:.0f} s, {resident() - base:.0f} MiB more"
        )
        seen: list[float] = []

        def watch(shard: int, _ratings: object) -> None:
            if shard % 25 == 0:
                seen.append(resident())

        started = time.perf_counter()
        rate_shards(job, job.missing(), rater=rater, progress=watch)
        print(
            f"rated in {time.perf_counter() - started:.0f} s; peak {peak():.0f} MiB, {peak() - base:.0f} more than before; "
            f"first tenth {max(seen[: len(seen) // 10] or [0]):.0f}, last tenth {max(seen[-(len(seen) // 10 or 1) :]):.0f} MiB"
        )
        assert sum(len(read_part(job.ratings_path(s)).examples) for s in range(job.shards)) == documents


def memory_real(documents: int) -> None:
    """Growth with the real engine: a small model, short documents."""
    rules = [Rule(name=f"r{j}", text=f"Statement {j}.") for j in range(2)]
    with tempfile.TemporaryDirectory() as root:
        folder = tiny_llama.save(Path(root) / "model")
        rater = rater_for(f"vllm:{folder}", document_tokens=200, cache_gib=1 / 32)
        seen: list[float] = []
        texts = list(tiny_llama.documents(500, 20, seed=1))
        batches = (
            batch_of([f"{first + i} {t}" for i, t in enumerate(texts)], first) for first in range(0, documents, 500)
        )
        for _ in rater.rate(batches, rules, lent()):
            seen.append(resident())
        rater.close()
        settled = len(seen) // 10
        growth = (seen[-1] - seen[settled]) * 1024 / (500 * (len(seen) - 1 - settled))
        print(
            f"real engine, {documents:,} documents: {seen[settled]:.0f} MiB after a tenth, {seen[-1]:.0f} at the end: {growth:.2f} kB a document"
        )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--memory", action="store_true", help="memory instead of speed")
    options.add_argument("--turns", type=int, default=5)
    options.add_argument("--documents", type=int, default=40)
    options.add_argument("--million", type=int, default=1_000_000, help="documents for the fake engine")
    options.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rulesel-bench-llama")
    chosen = options.parse_args()
    if chosen.memory:
        memory_fake(chosen.million)
        memory_real(20_000)
        return
    bench = Bench(chosen.folder, chosen.documents)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    counters(bench, chosen.documents)
    outside(bench, chosen.documents)
    speed(bench, chosen.turns, chosen.documents)
    bench.raters[False].close()
    small_cache(chosen.folder, bench, chosen.documents)


if __name__ == "__main__":
    main()
