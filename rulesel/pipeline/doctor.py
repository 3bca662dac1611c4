"""What is installed, what is missing, and the command that brings it."""

from __future__ import annotations

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from rulesel.config import Spending, check, load
from rulesel.llm.diagnose import Check, diagnose

CORE = (
    "numpy",
    "scipy",
    "duckdb",
    "pyarrow",
    "orjson",
    "pydantic",
    "typer",
    "rich",
    "jinja2",
    "tenacity",
    "openai",
    "dppy",
)
EXTRAS = (
    ("litellm", "litellm", "judges of every provider"),
    ("vllm", "vllm", "scoring with a local model"),
)


class Finding(NamedTuple):
    """One line: ok, missing or optional; what; what was found; what to do."""

    state: str
    what: str
    found: str
    remedy: str


def examine() -> list[Finding]:
    """Look at the interpreter, the packages and the disk; nothing is imported or installed."""
    findings = [Finding("ok", "Python", ".".join(map(str, sys.version_info[:3])), "")]
    for name in CORE:
        found = _version(name)
        remedy = "" if found else f"pip install {name}"
        findings.append(Finding("ok" if found else "missing", name, found or "not installed", remedy))
    for module, extra, use in EXTRAS:
        there = find_spec(module) is not None
        remedy = "" if there else f"pip install 'rulesel[{extra}]'  ({use})"
        findings.append(
            Finding("ok" if there else "optional", module, _version(module) or ("yes" if there else "no"), remedy)
        )
    free = shutil.disk_usage(".").free / 2**30
    low = "" if free > 5 else "a store takes about twice its corpus"
    findings.append(Finding("ok" if free > 1 else "missing", "disk", f"{free:.0f} GiB free here", low))
    return findings


def examine_model(name: str, config: str | None = None) -> list[Check]:
    """Ask a model for one digit and tell what stands in the way of a run; may be billed as one request.

    Args:
        name: as `--judge` takes it.
        config: a configuration file whose `prices:` are taken.
    """
    prices = {} if config is None else check(Spending, {"prices": load(Path(config)).get("prices") or {}}).prices
    return diagnose(name, prices)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
