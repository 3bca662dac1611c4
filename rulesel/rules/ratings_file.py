"""Ratings from a file that rulesel did not make, one row a rating or one row an example.

Long: a column of examples (id, example_id), one of rules (rule_name, rule, rule_id), one of numbers (score, rating,
value), and `status` if there is one. Wide: one row an example and one column a rule, or a field `scores` that holds a
list or an object of numbers. Numbers are taken as they stand, on any scale.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

import numpy as np

from rulesel.errors import UnknownName, UsageError
from rulesel.records import Float32, Float64, Int64, Rule, RuleSet, Status, UInt8
from rulesel.rules.columns_file import Column, Columns, numbers, read_columns, words

OWN_FIELDS = ("id", "example_id", "example", "uid", "uuid", "_id")
"""Fields by which records have ids of their own, the likeliest first."""

ID_FIELDS = (*OWN_FIELDS, "row")
"""Columns that say which example a row is about; `row` is rulesel's own word for a row number."""

INDEX_FIELDS = ("", "Unnamed: 0", "__index_level_0__", "index", "idx")
"""Columns that number the rows of a table, as pandas writes them."""

RULE_FIELDS = ("rule_name", "rule", "rule_id")
SCORE_FIELDS = ("score", "rating", "value")
NOT_RULES = {
    **dict.fromkeys(("row", "rank", "key", "aggregate", "coverage"), "tells where a row stands, not how it is rated"),
    **dict.fromkeys((*OWN_FIELDS, *INDEX_FIELDS), "names the examples"),
    **dict.fromkeys(("overall", "truth", "gold", "label"), "speaks of the whole example; name it as the anchor"),
}
"""Columns that are no rules unless they are asked for: an outside label among the rules would leak into the choice."""


@dataclass(frozen=True, slots=True)
class RatingsFile:
    """What a file of ratings holds.

    Attributes:
        ids: the n examples as the file names them, in the order of their first appearance, blank where it names none;
            the row number where the file has no such column.
        named: the column that names them; None where there is none.
        names: names of the R rules.
        values: float32 (n, R) on the file's own scale; NaN exactly where `status` is not ok.
        status: uint8 (n, R), a `Status`; a pair that a long file does not mention is not_applicable.
        anchor: float64 (n,) of the column named as anchor, NaN where unknown; None if none was named.
        skipped: column -> why it was not read as a rule.
        shape: how the file was laid out.
        beside: the columns that were not read as rules.
    """

    ids: list[str]
    named: str | None
    names: list[str]
    values: Float32
    status: UInt8
    anchor: Float64 | None
    skipped: dict[str, str]
    shape: Literal["long", "wide"]
    beside: Columns


def read_ratings(
    path: str | Path,
    *,
    rules: Sequence[str] | None = None,
    anchor: str | None = None,
    ids: Sequence[str] = ID_FIELDS,
) -> RatingsFile:
    """Read ratings, one number a pair of example and rule.

    Args:
        path: a .parquet, .csv, .tsv, .jsonl or .ndjson file.
        rules: names of the rules to read, in this order; None = all there are.
        anchor: column with an outside number for each example (an overall grade, a label); it is never a rule.
        ids: columns that may name the examples: the first that the file has.

    Raises:
        UsageError: the file cannot be read, holds no ratings, lacks a named column, or rates a pair twice.
    """
    path = Path(path)
    columns = read_columns(path)
    if anchor is not None and anchor not in columns.values:
        raise UnknownName(f"column in {path}", anchor, columns.values)
    example = _first(columns, ids)
    rule = _first(columns, RULE_FIELDS)
    score = _first(columns, SCORE_FIELDS)
    if example and rule and score:
        return _long(path, columns, (example, rule, score), rules, anchor)
    return _wide(path, columns, example, rules, anchor)


def named_rules(names: Sequence[str], origin: str = "") -> RuleSet:
    """A rule set for rules of which a file tells only the names: the name is the text, and its start the label.

    Raises:
        UsageError: two names are equal, or one is blank.
    """
    rules, taken = [], set[str]()
    for name in names:
        words = " ".join("".join(" " if ord(letter) < 32 else letter for letter in name).split())
        if not words:
            raise UsageError("A rule of the ratings file has a blank name.")
        label = words[:64].rstrip()
        for twin in count(2):
            if label not in taken:
                break
            label = f"{words[:60].rstrip()} {twin}"
        taken.add(label)
        rules.append(Rule(name=label, text=words[:20_000]))
    if len({rule.text for rule in rules}) < len(rules):
        raise UsageError("Two rules of the ratings file have the same name.")
    return RuleSet(origin=origin, rules=tuple(rules))


def _first(columns: Columns, fields: Sequence[str]) -> str | None:
    return next((name for name in fields if name in columns.values), None)


def _wide(
    path: Path, columns: Columns, named: str | None, rules: Sequence[str] | None, anchor: str | None
) -> RatingsFile:
    ids = words(columns.values[named]) if named else [str(row) for row in range(columns.rows)]
    if len(set(filter(None, ids))) < sum(map(bool, ids)):
        raise UsageError(f"{path}: the same {named!r} stands in more than one row. Keep one row an example.")
    names, skipped = _rule_columns(path, columns, rules, {named, anchor})
    values = np.empty((columns.rows, len(names)), dtype=np.float32)
    status = np.empty(values.shape, dtype=np.uint8)
    for at, name in enumerate(names):
        values[:, at], status[:, at] = _numbers(columns.values.pop(name))
    grades = None if anchor is None else _grades(path, anchor, columns.values[anchor])
    return RatingsFile(ids, named, names, values, status, grades, skipped, "wide", columns)


def _rule_columns(
    path: Path, columns: Columns, rules: Sequence[str] | None, taken: set[str | None]
) -> tuple[list[str], dict[str, str]]:
    """Names of the columns that hold ratings, and why the others do not."""
    if rules is not None:
        for name in rules:
            if name not in columns.values:
                raise UnknownName(f"column in {path}", name, columns.values)
        return list(rules), {}
    names, skipped = [], {}
    for name, column in columns.values.items():
        if name in taken:
            continue
        if columns.nested and name not in columns.nested:
            skipped[name] = "stands beside the ratings"
        elif name in NOT_RULES:
            skipped[name] = NOT_RULES[name]
        elif _is_text(column):
            skipped[name] = "is text"
        else:
            names.append(name)
    if not names:
        raise UsageError(f"{path} has no column of numbers that could be a rule. It has: {', '.join(columns.values)}.")
    return names, skipped


def _long(
    path: Path, columns: Columns, fields: tuple[str, str, str], rules: Sequence[str] | None, anchor: str | None
) -> RatingsFile:
    example, rule, score = fields
    ids, rows = _codes(columns.values[example])
    found, places = _codes(columns.values[rule])
    names = found if rules is None else list(rules)
    for name in names:
        if name not in found:
            raise UnknownName(f"rule in {path}", name, found)
    wanted = np.array([names.index(name) if name in names else -1 for name in found], dtype=np.int64)[places]
    kept = (wanted >= 0) & np.array([bool(one) for one in ids])[rows]
    cells = rows[kept] * len(names) + wanted[kept]
    _, firsts, counts = np.unique(cells, return_index=True, return_counts=True)
    if (counts > 1).any():
        again = int(np.flatnonzero(kept)[firsts[np.argmax(counts > 1)]])
        raise UsageError(
            f"{path} rates example {ids[rows[again]]!r} on rule {found[places[again]]!r} more than once. "
            "Keep one rater's ratings."
        )
    values = np.full((len(ids), len(names)), np.nan, dtype=np.float32)
    status = np.full(values.shape, Status.not_applicable, dtype=np.uint8)
    scores, states = _numbers(columns.values[score])
    if "status" in columns.values:
        states = _named_states(words(columns.values["status"]), states)
        scores = np.where(states == Status.ok, scores, np.nan)
    values.ravel()[cells] = scores[kept]
    status.ravel()[cells] = states[kept]
    grades = None
    if anchor is not None:
        grades = np.full(len(ids), np.nan)
        grades[rows] = _grades(path, anchor, columns.values[anchor])
    skipped = dict.fromkeys(columns.values.keys() - {*fields, "status", anchor}, "stands beside the ratings")
    return RatingsFile(ids, example, names, values, status, grades, skipped, "long", columns)


def _codes(column: Column) -> tuple[list[str], Int64]:
    """Distinct values in the order of their first appearance, and each row's place among them."""
    names = words(column)
    place = {name: at for at, name in enumerate(dict.fromkeys(names))}
    return list(place), np.fromiter((place[name] for name in names), dtype=np.int64, count=len(names))


def _is_text(column: Column) -> bool:
    """Whether more than half of what stands in a column is no number."""
    found, strange = numbers(column)
    return bool(strange.sum() > np.isfinite(found).sum())


def _numbers(column: Column) -> tuple[Float64, UInt8]:
    """Numbers with their states: what is no number failed to parse, what is infinite is out of range."""
    found, _ = numbers(column)
    status = np.where(np.isnan(found), Status.parse, Status.ok).astype(np.uint8)
    status[np.isinf(found)] = Status.range
    return np.where(np.isinf(found), np.nan, found), status


def _named_states(texts: Sequence[str], states: UInt8) -> UInt8:
    """A failure's own name where the file gives one that we know."""
    known = {status.name: int(status) for status in Status}
    named = np.array([known.get(text, -1) for text in texts])
    return np.where(named > 0, named, states).astype(np.uint8)


def _grades(path: Path, anchor: str, column: Column) -> Float64:
    grades, _ = _numbers(column)
    if np.isnan(grades).all():
        raise UsageError(f"{path}: the anchor column {anchor!r} holds no numbers.")
    return grades
