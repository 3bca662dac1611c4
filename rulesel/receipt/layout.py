"""What a receipt holds, checked before anything is done with it; older ones are brought into the layout of today."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from rulesel.config import COSMETIC, PickConfig, RunConfig, check, run_settings
from rulesel.errors import UsageError
from rulesel.raters import rater_for

RECEIPT = 2
"""The layout written today."""

UPGRADED = "1, in the layout of 2"
"""In the place of the number, in memory, where an older receipt was brought up to date."""

RECORDED = "recorded"
"""The one part that is recorded and not checked."""

DEEPEST = 40
LONGEST = 200


class _Loose(BaseModel):
    """Keys that a derivation starts from; the others are compared with what it finds."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Corpus(_Loose):
    sha256: str
    mapping: dict[str, Any]
    limit: int | None


class _Rules(_Loose):
    id: str
    names: list[str] | None = None


class _Rule(_Loose):
    id: str
    weight: float


class _Choice(_Loose):
    method: str
    rules: list[_Rule]


class _Report(_Loose):
    features: dict[str, str] = {}


class _Selection(_Loose):
    id: str
    sha256: str
    method: dict[str, Any]
    report: _Report


class _Output(_Loose):
    name: str
    sha256: str


class _Pick(_Loose):
    run: str
    config: dict[str, Any]
    corpus: _Corpus
    selection: _Selection
    output: _Output
    counts: dict[str, Any]
    recorded: dict[str, Any]


class _Run(_Pick):
    rules: _Rules
    raters: dict[Literal["sample", "corpus", "retest", "measured"], str]
    sample: dict[str, Any]
    choice: _Choice


def as_receipt(value: object) -> dict[str, Any]:
    """A receipt of any version in the layout of today; `receipt` is then `RECEIPT` or `UPGRADED`.

    Raises:
        UsageError: it is no receipt; the message says what is wrong with it.
    """
    if not isinstance(value, dict) or type(value.get("receipt")) is not int or value["receipt"] not in (1, RECEIPT):
        raise UsageError("it is no receipt that this rulesel can read (receipt: 1 or 2)")
    if _depth(value) > DEEPEST:
        raise UsageError(f"it is no receipt: it is nested more than {DEEPEST} deep")
    try:
        receipt = value if value["receipt"] == RECEIPT else _upgraded(value)
        (_Run if _of_run(receipt) else _Pick).model_validate(receipt)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"it is no whole receipt: {where[:LONGEST]}: {first['msg']}") from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"it is no whole receipt of version 1: {str(error)[:LONGEST]}") from error
    name = receipt["output"]["name"]
    if name in {"", ".", ".."} or "\0" in name or name != _base(name):
        raise UsageError(f"its output has no plain file name: {name[:LONGEST]!r}")
    return receipt


def config_of(receipt: dict[str, Any]) -> RunConfig | PickConfig:
    """The settings that a selection was made with; addresses, paths and limits of the run are not among them.

    Raises:
        UsageError: they are no settings of a run or selection.
    """
    values = receipt["config"] | {"out": receipt["output"]["name"]}
    if not _of_run(receipt):
        return check(PickConfig, values)
    for section in (values["corpus"], values["rules"]):
        if not isinstance(section, dict):
            raise UsageError("config: corpus and rules hold settings by name")
    values |= {name: _addressed(values.get(name)) for name in ("judge", "sample_judge") if name in values}
    rules = values["rules"] | {"writer": None}
    return check(RunConfig, values | {"corpus": values["corpus"] | {"path": "-"}, "rules": rules})


def unchecked(dumped: dict[str, Any]) -> dict[str, Any]:
    """Settings of a run that are recorded only: those that do not change what it finds, and addresses of models."""
    settings = run_settings(dumped)
    kept = {name: value for name, value in dumped.items() if name in COSMETIC}
    kept |= {name: dumped[name] for name in ("judge", "sample_judge") if dumped[name] != settings[name]}
    if dumped["rules"]["writer"] != settings["rules"]["writer"]:
        kept["writer"] = dumped["rules"]["writer"]
    return kept


def _of_run(receipt: dict[str, Any]) -> bool:
    """Whether rules were chosen for it; else it is a selection by a column."""
    return "rules" in receipt["config"] if isinstance(receipt.get("config"), dict) else "choice" in receipt


def _addressed(name: object) -> object:
    """A model's name as a configuration takes it: one whose address is left out is given any."""
    if not isinstance(name, str):
        return name
    try:
        rater_for(name)
    except UsageError:
        return f"http://localhost/v1#{name}"
    return name


def _upgraded(old: dict[str, Any]) -> dict[str, Any]:
    """A receipt of version 1 in the layout of today; the sentences of that version are recorded only."""
    dumped, report, output = old["config"], dict(old["selection"]["report"]), old["output"]
    moved: dict[str, Any] = {"packages": old["packages"], "store": old["store"], "corpus": old["corpus"]["path"]}
    moved |= {"output": output["path"]} | ({"overlap": report.pop("overlap")} if "overlap" in report else {})
    new = {name: part for name, part in old.items() if name not in {"packages", "store"}}
    if "rules" in dumped:
        choice = old["choice"]
        moved |= {"settings": unchecked(dumped), "origin": old["rules"]["origin"], "warnings": choice["warnings"]}
        moved["reasons"] = [one["reason"] for one in choice["dropped"]]
        dropped = [_without(one, "reason") for one in choice["dropped"]]
        new["choice"] = _without(choice, "warnings") | {"dropped": dropped}
        new["config"] = run_settings(dumped)
        new["rules"] = _without(old["rules"], "origin")
    else:
        new["config"] = _without(dumped, "out", "store")
    new |= {
        "receipt": UPGRADED,
        "corpus": _without(old["corpus"], "path"),
        "selection": old["selection"] | {"report": report},
        "output": _without(output, "path") | {"name": _base(output["path"])},
        RECORDED: moved,
    }
    return new


def _without(part: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in part.items() if name not in names}


def _base(path: str) -> str:
    """The last part of a path of any system."""
    return PureWindowsPath(PurePosixPath(path).name).name


def _depth(value: object) -> int:
    """How deep a JSON value is nested, no further than one beyond `DEEPEST`."""
    level, depth = [value], 0
    while level and depth <= DEEPEST:
        inner: list[object] = []
        for one in level:
            if isinstance(one, dict):
                inner += one.values()
            elif isinstance(one, list):
                inner += one
        level, depth = inner, depth + 1
    return depth
