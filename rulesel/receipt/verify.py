"""A receipt checked: everything it holds derived again from the store and compared."""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from rulesel.config import RunConfig
from rulesel.errors import UsageError
from rulesel.receipt.again import corpus_of, derived, rules_of, scores_of
from rulesel.receipt.derive import PERMUTED, from_column, permuted_column, write_records
from rulesel.receipt.document import column_receipt, run_receipt
from rulesel.receipt.layout import RECEIPT, RECORDED, UPGRADED, config_of
from rulesel.receipt.offering import features_of, selection_of
from rulesel.store import Store

PARTS = {
    "run": ("run", "config"),
    "corpus": ("corpus",),
    "rules": ("rules", "raters", "answer_starts"),
    "sample": ("sample",),
    "choice": ("choice",),
    "scores": ("scores",),
    "rows": ("selection",),
    "counts": ("counts",),
    "output": ("output",),
}
"""What is compared, and where a receipt holds it."""

CLOSE = 1e-8
"""Relative difference by which a computed number may differ between machines."""

NAMED = 3
"""Differences named for each part."""

Difference = tuple[str, str]


class Check(NamedTuple):
    """One thing compared with the receipt."""

    what: str
    agrees: bool
    detail: str


def verify(receipt: dict[str, Any], store: Store, folder: Path) -> list[Check]:
    """Derive the selection again from the store and compare all that the receipt holds, but for what is recorded only.

    Args:
        receipt: see `read_receipt`.
        store: opened for reading.
        folder: where the output lies, for its own SHA-256.

    Returns:
        The checks in the order they were made.

    Raises:
        UsageError: the receipt is no receipt of this kind, or the store does not know its corpus, rules or rater.
    """
    import duckdb

    if receipt.get("receipt") not in (RECEIPT, UPGRADED):
        raise UsageError("This is no receipt that this rulesel can check (receipt: 1 or 2).")
    try:
        if _permuted(receipt, store):
            return [Check("derivation", False, f"the score {PERMUTED}")]  # noqa: FBT003 - a record
        again = _again(receipt, store)
    except (ArithmeticError, LookupError, MemoryError, TypeError, ValueError, duckdb.Error) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UsageError(f"Nothing can be derived from this receipt: {reason[:200]}") from error
    return [*_compared(receipt, again), _file_check(receipt["output"], folder)]


def _permuted(receipt: dict[str, Any], store: Store) -> bool:
    """Whether the version that made it took the chosen rules' ratings from the wrong columns."""
    if receipt["receipt"] != UPGRADED:
        return False
    if "choice" not in receipt:
        select = config_of(receipt).select
        return select.needs_quality and permuted_column(store, select.quality)
    offered = [rule.id for rule in rules_of(store, receipt).rules]
    kept = receipt["choice"]["rules"]
    plain_mean = receipt["choice"]["method"] == "paper" and len({rule["weight"] for rule in kept}) == 1
    return len(kept) == len(offered) and [rule["id"] for rule in kept] != offered and not plain_mean


def _again(receipt: dict[str, Any], store: Store) -> dict[str, Any]:
    """The receipt that the store gives now."""
    config, corpus = config_of(receipt), corpus_of(store, receipt)
    run = derived(store, receipt) if isinstance(config, RunConfig) else None
    found = from_column(store, config, corpus) if run is None else scores_of(store, run)
    selection = selection_of(store, config.select, config.seed, corpus, found, features=features_of(receipt))
    name = receipt["output"]["name"]
    with tempfile.TemporaryDirectory() as scratch:
        rows = found.rows.row[found.pool[selection.indices]]
        output = name, write_records(Path(scratch) / name, store, config.as_, corpus, rows)
    settings = receipt["config"]
    if run is None:
        return column_receipt(store, config, corpus, found, selection, settings=settings, output=output)
    return run_receipt(store, run, found, selection, settings=settings, output=output)


def _compared(receipt: dict[str, Any], again: dict[str, Any]) -> list[Check]:
    strict = receipt["receipt"] == RECEIPT
    checks = []
    for what, names in PARTS.items():
        parts = [{name: one[name] for name in names if name in one} for one in (receipt, again)]
        if not any(parts):
            continue
        found = list(_differences(parts[0], parts[1], strict=strict))
        if what == "scores" and not strict:
            continue
        more = f"; {len(found) - NAMED} more" if len(found) > NAMED else ""
        detail = "; ".join(f"{where} {why}" for where, why in found[:NAMED]) + more if found else _summary(what, again)
        checks.append(Check(what, not found, detail))
    known = {"receipt", RECORDED, *(name for names in PARTS.values() for name in names)}
    if strange := sorted(set(receipt) - known):
        checks.append(Check("receipt", False, f"holds {strange[0][:60]!r}, which no receipt does"))  # noqa: FBT003
    return checks


def _differences(held: Any, found: Any, where: str = "", *, strict: bool) -> Iterator[Difference]:  # noqa: ANN401
    """Where a receipt and its derivation are not the same; what only the latter has counts if `strict`."""
    if isinstance(held, dict) and isinstance(found, dict):
        inside = f"{where}." if where else ""
        for name in found.keys() | held.keys() if strict else held.keys():
            if name not in found:
                yield f"{inside}{name}"[:80], "is in the receipt alone"
            elif name not in held:
                yield f"{inside}{name}", "is not in the receipt"
            else:
                yield from _differences(held[name], found[name], f"{inside}{name}", strict=strict)
    elif isinstance(held, list) and isinstance(found, list) and len(held) == len(found):
        for place, pair in enumerate(zip(held, found, strict=True)):
            yield from _differences(*pair, f"{where}[{place}]", strict=strict)
    elif not _same(held, found):
        yield where, f"is {_short(held)} in the receipt, {_short(found)} by the store"


def _same(held: object, found: object) -> bool:
    if isinstance(held, float) and isinstance(found, float):
        return math.isclose(held, found, rel_tol=CLOSE, abs_tol=CLOSE * 1e-2)
    return type(held) is type(found) and held == found


def _short(value: object) -> str:
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def _summary(what: str, again: dict[str, Any]) -> str:
    return {
        "run": "the settings",
        "corpus": f"{again['counts']['in']:,} records",
        "rules": f"{again.get('rules', {}).get('n')} offered, and their raters",
        "sample": f"{again.get('sample', {}).get('n', 0):,} examples",
        "choice": f"{len(again.get('choice', {}).get('rules', []))} rules and their figures",
        "scores": "made from the same ratings",
        "rows": f"{again['selection']['n']:,} ids in order",
        "counts": "every record is accounted for",
        "output": "written again from the store",
    }[what]


def _file_check(output: dict[str, Any], folder: Path) -> Check:
    file = folder / output["name"]
    if not file.is_file():
        return Check("file", False, f"{output['name']} is not beside the receipt")  # noqa: FBT003 - a record
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()
    return Check("file", found == output["sha256"], output["name"])
