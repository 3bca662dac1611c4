"""Which rows of a corpus are meant: by row number, by the records' own id, by rulesel's id, or by the corpus's order.

The one place where a name that a user gives becomes a row. What a name means is asked for, or follows from the names
without ambiguity; where two readings are possible nothing is chosen and both are shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from rulesel.corpus import field_values
from rulesel.digest import PREFIX
from rulesel.errors import UnknownName, UsageError
from rulesel.receipt import source_of
from rulesel.records import Int64
from rulesel.rules.columns_file import WHOLE, Columns, texts
from rulesel.rules.ratings_file import ID_FIELDS, INDEX_FIELDS, OWN_FIELDS
from rulesel.store import CorpusRecord, Store

By = Literal["row", "id", "content", "order"]
BYS: tuple[By, ...] = get_args(By)

BLOCK = 100_000
FEW = 1000
"""Records that are looked at to see whether there is such a field."""
SHOWN = 3
"""Other columns of the same name that are named."""
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))\.0+")
_ROW = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True, slots=True)
class Named:
    """Rows that were named.

    Attributes:
        at: int64 (n,), position among the corpus's rows; -1 where the corpus has no such example, or none was named.
        by: how the names were read.
        unnamed: how many of the n name nothing.
        said: how the names were read, in words.
    """

    at: Int64
    by: By
    unnamed: int
    said: str

    @property
    def unknown(self) -> int:
        """How many names the corpus does not know."""
        return int((self.at < 0).sum()) - self.unnamed


def canonical(name: str) -> str:
    """The one way a whole number is written: 17 for 17.0; every other name, 017 among them, as it stands.

    From 2^53 on a number with a fraction may have been rounded, and stays what it is.
    """
    found = _WHOLE.fullmatch(name)
    return found[1] if found and abs(int(found[1])) < WHOLE else name


class Names:
    """The names of one corpus's rows.

    Attributes:
        rows: the rows.
        id_field: the field that holds the records' own ids: the one that is named; else the one that is called as the
            column of names in question; else the first of `OWN_FIELDS` that the records have.
    """

    def __init__(
        self, store: Store, corpus: CorpusRecord, id_field: str | None = None, *, called: str | None = None
    ) -> None:
        self._store = store
        self._corpus = corpus
        self.rows = store.corpora.rows(corpus.corpus)
        likely = (*(() if called is None else (called,)), *OWN_FIELDS)
        self.id_field = id_field or next((one for one in likely if any(self._field(one, FEW))), OWN_FIELDS[0])

    def find(self, names: Sequence[str | None], by: By | None, *, source: str, called: str) -> Named:
        """The rows that names mean.

        Args:
            names: one each; None where there is none.
            by: "row", "id" or "content"; None where the names themselves must say.
            source: the file, for messages.
            called: the file's column of names.

        Raises:
            UsageError: no name is known, the names can be read in two ways, or one means several examples.
        """
        known = [name for name in names if name is not None]
        by = by or self._detected(known, source, called)
        at = self._places(names, by, source)
        if by == "row":
            self._check_rows(at, names, source)
        if not (at >= 0).any():
            raise UsageError(self._none(known, source, called))
        return Named(at, by, len(names) - len(known), self._said(by, called))

    def in_order(self, n: int, columns: Columns, *, source: str, stated: bool, values: frozenset[str]) -> Named:
        """The rows of a file that names none: its n-th row is about the n-th record.

        Args:
            n: rows of the file.
            columns: the file.
            source: the file's name, for messages.
            stated: the user says that it is in the corpus's order; else its columns must not speak against it.
            values: columns that hold what is taken in, and say nothing about the order.

        Raises:
            UsageError: the file has more or fewer rows than the corpus, or seems to be in another order.
        """
        records = self._corpus.n_records
        more = n > records and self._corpus.row_limit is not None
        if n != records and not more:
            lost = records - self._corpus.n_examples
            raise UsageError(
                f"{source} names no examples and has {n:,} rows; the corpus has {records:,} records"
                + (f", of which {lost:,} could not be read" if lost else "")
                + ". Give one row a record, in the corpus's order, or a column of ids."
            )
        if not stated:
            self._check_order(columns, source, values)
        at = np.full(n, -1, dtype=np.int64)
        at[self.rows.row] = np.arange(len(self.rows))
        return Named(at, "order", 0, "in the corpus's order")

    def one(self, name: str, by: By | None = None) -> int:
        """The position of the row that one name means: an id, the beginning of rulesel's id, or a row number.

        Raises:
            UsageError: there is none, or several.
        """
        found = self._readings(name, by)
        distinct = {int(self.rows.content[at]): at for at in found.values()}
        if not found:
            raise UsageError(self._no_such(name))
        if len(distinct) > 1 or ("row" in found and len(set(found.values())) > 1):
            ways = " and ".join(f"{self._as_words(way)} {self._shown(at)}" for way, at in found.items())
            raise UsageError(f"{name!r} is {ways}. Say which with --by {' or --by '.join(found)}.")
        return next(iter(found.values()))

    @cached_property
    def _own_ids(self) -> tuple[dict[str, int], dict[str, tuple[int, int]]]:
        own, several = dict[str, int](), dict[str, tuple[int, int]]()
        for at, name in enumerate(self._field(self.id_field)):
            if name is not None and name.strip():
                first = own.setdefault(name, at)
                if self.rows.content[first] != self.rows.content[at]:
                    several.setdefault(name, (first, at))
        return own, several

    @property
    def _own(self) -> dict[str, int]:
        """The records' own ids as they stand, each with its first position; empty where the corpus has no such field."""
        return self._own_ids[0]

    @property
    def _several(self) -> dict[str, tuple[int, int]]:
        """Own ids that stand for more than one example, with two of them."""
        return self._own_ids[1]

    @cached_property
    def _alike(self) -> dict[str, str | None]:
        """Canonical form -> own id, None where several own ids have it."""
        alike: dict[str, str | None] = {}
        for name in self._own:
            key = canonical(name)
            alike[key] = None if key in alike else name
        return alike

    @cached_property
    def _contents(self) -> dict[str, int]:
        """Rulesel's ids, and the content hashes they begin with, each with its first position."""
        ids = self._store.corpora.ids(self._corpus.corpus, self.rows.row)
        found = {name: at for at, name in enumerate(ids)}
        for name, at in list(found.items()):
            found.setdefault(name.rpartition("-")[0], at)
        return found

    def _field(self, field: str, most: int | None = None) -> list[str | None]:
        """A field of every record, or of the first few."""
        source, values = source_of(self._corpus), list[str | None]()
        rows = self.rows.row[:most]
        for start in range(0, len(rows), BLOCK):
            records = self._store.corpora.records(self._corpus.corpus, rows[start : start + BLOCK])
            try:
                values += field_values(records, source.format, self._corpus.header, field)
            except UsageError:  # a CSV without such a field
                return [None] * len(rows)
        return values

    def _places(self, names: Sequence[str | None], by: By, source: str) -> Int64:
        find = {"id": self._by_id, "row": self._by_row, "content": self._by_content}[by]
        found = np.fromiter((-1 if name is None else find(name) for name in names), dtype=np.int64, count=len(names))
        if by == "id":
            self._check_several(names, source)
        return found

    def _check_several(self, names: Sequence[str | None], source: str) -> None:
        for name in names:
            if name in self._several:
                one, other = self._several[name]
                raise UsageError(
                    f"{source}: {name!r} is the {self.id_field!r} of several records with different texts, "
                    f"{self._shown(one)} and {self._shown(other)}. Name the examples by row (--by row) or by rulesel's "
                    "ids (--by content)."
                )
            if name is not None and name not in self._own and self._alike.get(canonical(name), "") is None:
                raise UsageError(
                    f"{source}: {name!r} is one of several ids of the corpus that differ only in how a number is "
                    "written. Write ids in the file as the corpus does."
                )

    def _by_id(self, name: str) -> int:
        exact = self._own.get(name)
        if exact is not None:
            return exact
        alike = self._alike.get(canonical(name))
        return -1 if alike is None else self._own[alike]

    def _by_content(self, name: str) -> int:
        return self._contents.get(name, -1) if name.startswith(PREFIX) else -1

    def _by_row(self, name: str) -> int:
        row = _row(name)
        at = int(np.searchsorted(self.rows.row, row))
        return at if at < len(self.rows) and self.rows.row[at] == row else -1

    def _detected(self, names: Sequence[str], source: str, called: str) -> By:
        """How names are to be read, if only one way is possible."""
        if called == "row" and self.id_field != "row":
            return "row"
        order: tuple[By, ...] = ("content", "id", "row")
        places = {by: self._places(names, by, source) for by in order}
        fits = {by: int((at >= 0).sum()) for by, at in places.items() if (at >= 0).any()}
        if max(fits.get("id", 0), fits.get("content", 0)) < len(names):
            self._check_written(names, source, called)
        if not fits:
            raise UsageError(self._none(names, source, called))
        ways = [by for by in order if by in fits]
        first = ways[0]
        if first == "row":
            self._check_rows_meant(names, fits["row"], source, called)
            return "row"
        rivals = [by for by in ways[1:] if not self._same(places[first], places[by])]
        if first == "id" and rivals == ["row"]:
            whole = fits["id"] == len(names) and called == self.id_field != "row"
            rivals = [] if whole or fits["id"] > fits["row"] else rivals
        if rivals:
            raise UsageError(self._two(names, places, fits, (first, rivals[0]), source, called))
        return first

    def _same(self, one: Int64, other: Int64) -> bool:
        content = self.rows.content
        return bool(((one >= 0) == (other >= 0)).all() and (content[one] == content[other])[one >= 0].all())

    def _check_rows_meant(self, names: Sequence[str], fit: int, source: str, called: str) -> None:
        """Row numbers are what is meant only where the corpus has no ids of its own and counting begins at 0."""
        begin = f"{source}: {called!r} would have to be row numbers ({fit:,} of {len(names):,} fit), "
        if self._own:
            own = next(iter(self._own))
            raise UsageError(
                f"{begin}but the records have ids of their own, such as {own!r}, and none of them is in the file, whose "
                f"first is {names[0]!r}. Say --by row if row numbers are meant, counted from 0."
            )
        if all(_row(name) for name in names):
            at = next(at for at in map(self._by_row, names) if at >= 0)
            row = int(self.rows.row[at])
            before = self._by_row(str(row - 1))
            other = f"; counted from 1 it is {self._shown(before)}" if before >= 0 else ""
            raise UsageError(
                f"{begin}and 0 is not among them: counted from 0, {str(row)!r} is {self._shown(at)}{other}. "
                "rulesel counts from 0: say --by row if the file does too."
            )

    def _check_rows(self, places: Int64, names: Sequence[str | None], source: str) -> None:
        """A row that the corpus cannot have is a sign of another way to count."""
        if self._corpus.row_limit is not None:
            return
        for at, name in zip(places.tolist(), names, strict=True):
            if at < 0 and name is not None and not 0 <= _row(name) < self._corpus.n_records:
                raise UsageError(
                    f"{source}: {name!r} is no row of the corpus: rows run from 0 to {self._corpus.n_records - 1:,}."
                )

    def _check_written(self, names: Sequence[str], source: str, called: str) -> None:
        """Names that would be ids if they were written in another way are not left out in silence."""
        loose = {_loosely(name): name for name in self._own}
        for name in names:
            own = loose.get(_loosely(name))
            if own is not None and self._by_id(name) < 0 and self._by_content(name) < 0:
                raise UsageError(
                    f"{source}: {called!r} has {name!r}, the corpus has the id {own!r}: they are not the same id. Write "
                    "ids in the file as the corpus does, as text, or say --by row if row numbers are meant."
                )

    def _check_order(self, columns: Columns, source: str, values: frozenset[str]) -> None:
        """Columns that the corpus has too, or that number rows, must not say that the order is another one."""
        for name in columns.values.keys() - values:
            column = columns.values[name]
            cells = [None if one is None else canonical(one) for one in texts(column)]
            if name in INDEX_FIELDS and sorted(filter(None, cells)) == sorted(map(str, range(len(cells)))):
                if cells != [str(row) for row in range(len(cells))]:
                    raise UsageError(
                        f"{source} names no examples, and its column {name!r} numbers its rows in another order. Say "
                        "--by row if these are row numbers of the corpus, or --by order if the file is in its order."
                    )
                continue
            if not any(cells) or not any(self._field(name, FEW)):
                continue
            own = self._field(name)
            known = {None if one is None else canonical(one) for one in own}
            here = [cells[row] for row in self.rows.row.tolist() if row < len(cells)]
            if set(here) <= known and here != [None if one is None else canonical(one) for one in own]:
                at = next(i for i, one in enumerate(here) if one is None or one != canonical(own[i] or ""))
                raise UsageError(
                    f"{source} names no examples, and its column {name!r} says that it is not in the corpus's order: "
                    f"{here[at]!r} stands where {self._shown(at)} has {own[at]!r}. Say --id-field {name} if it names "
                    "the examples, or --by order if the file is in the corpus's order all the same."
                )

    def _readings(self, name: str, by: By | None) -> Mapping[By, int]:
        if by in (None, "id"):
            self._check_several([name], "explain")
        ways: dict[By, int] = {"id": self._by_id(name), "row": self._by_row(name), "content": self._beginning(name)}
        return {way: at for way, at in ways.items() if at >= 0 and by in (None, way)}

    def _beginning(self, text: str) -> int:
        """The first row of the example whose id, as rulesel gives it, begins so."""
        if not text.startswith(PREFIX):
            return -1
        found = self._store.db.rows(
            "SELECT row, content FROM current_examples WHERE corpus = ? AND starts_with(example_id, ?) ORDER BY row",
            self._corpus.corpus,
            text,
        )
        if len({content for _, content in found}) > 1:
            raise UsageError(f"More than one example's id begins with {text!r}: give more of it.")
        return int(np.searchsorted(self.rows.row, found[0][0])) if found else -1

    def _shown(self, at: int) -> str:
        """A row, with the beginning of its text."""
        prompt, response = self._store.corpora.texts([int(self.rows.content[at])])[int(self.rows.content[at])]
        text = " ".join((prompt or response)[:200].split())
        return f"row {self.rows.row[at]}" + (f" ({text[:40]}{'…' if len(text) > 40 else ''})" if text else "")

    def _as_words(self, by: By) -> str:
        return {"id": f"the {self.id_field!r} of", "row": "the number of", "content": "rulesel's id of"}.get(by, by)

    def _said(self, by: By, called: str) -> str:
        meanings = {"id": f"the records' {self.id_field!r}", "row": "row numbers from 0", "content": "rulesel's ids"}
        return f"{called!r} read as {meanings[by]}"

    def _two(
        self,
        names: Sequence[str],
        places: Mapping[By, Int64],
        fits: Mapping[By, int],
        ways: tuple[By, By],
        source: str,
        called: str,
    ) -> str:
        apart = next(
            (
                i
                for i in range(len(names))
                if min(places[way][i] for way in ways) >= 0 and places[ways[0]][i] != places[ways[1]][i]
            ),
            None,
        )
        told = []
        for way in ways:
            example = apart if apart is not None else int(np.argmax(places[way] >= 0))
            means = {"id": f"the records' own {self.id_field!r}", "row": "row numbers, counted from 0"}
            told.append(
                f"as {means.get(way, 'the ids that rulesel gives')} {fits[way]:,} of {len(names):,} fit and "
                f"{names[example]!r} is {self._shown(int(places[way][example]))}"
            )
        return f"{source}: {called!r} can be read in two ways: {'; '.join(told)}. Say --by {ways[0]} or --by {ways[1]}."

    def _none(self, names: Sequence[str], source: str, called: str) -> str:
        if not names:
            return f"{source}: the column {called!r} is empty."
        has = (
            f"the corpus's first {self.id_field!r} is {next(iter(self._own))!r}"
            if self._own
            else (f"the records have no {self.id_field!r}")
        )
        return (
            f"{source}: none of the {len(names):,} ids in {called!r} (first: {names[0]!r}) is known; {has}, and rows run "
            f"from 0 to {self._corpus.n_records - 1:,}. Name the records' field with --id-field."
        )

    def _no_such(self, name: str) -> str:
        near = next((own for own in self._own if _loosely(own) == _loosely(name)), None)
        hint = f" It has the id {near!r}." if near is not None else ""
        return (
            f"The current corpus has no example {name!r}: give the record's own {self.id_field!r}, rulesel's id or its "
            f"beginning, or a row number from 0 (--id-field names another field).{hint}"
        )


def named_by(by: str | None) -> By | None:
    """A way of naming, as it is written on the command line.

    Raises:
        UnknownName: there is no such way.
    """
    if by is None:
        return None
    found = next((one for one in BYS if one == by), None)
    if found is None:
        raise UnknownName("way of naming examples", by, BYS)
    return found


def which_column(store: Store, name: str) -> str | None:
    """Which of several columns of one name is meant; None where there is one or none."""
    meanings = store.columns.meanings(name)
    if len(meanings) < 2:
        return None
    taken, *others = (f"{made_by(provenance)} ({identity[:11]})" for identity, provenance in meanings)
    more = f" and {len(others) - SHOWN:,} more" if len(others) > SHOWN else ""
    return (
        f"{len(meanings)} columns are called {name!r}; taken is the one asked for last, {taken}, not {', '.join(others[:SHOWN])}"
        f"{more}. The command that made another one, given again, makes it the last; what is paid for is not asked again."
    )


def made_by(provenance: Mapping[str, Any]) -> str:
    """Whose numbers a column holds, in words."""
    if "file" in provenance:
        return f"of the file {provenance['file']}" + (
            f", column {provenance['column']}" if "column" in provenance else ""
        )
    judge = provenance.get("model") or provenance.get("judge")
    if judge is None:
        return "computed"
    about = provenance.get("about") or provenance.get("criterion")
    rules = provenance.get("rules")
    return f"by {judge}" + (f" about {about!r}" if about else "") + (f" on {len(rules)} rules" if rules else "")


def id_fields(by: By | None, id_field: str | None) -> tuple[str, ...]:
    """The columns of a file that may name examples, the likeliest first; none where it is in the corpus's order."""
    if by == "order":
        return ()
    first = () if id_field is None else (id_field,)
    if by == "row":
        return ("row", *first, *ID_FIELDS, *INDEX_FIELDS)
    return (*(("example_id",) if by == "content" else ()), *first, *ID_FIELDS)


def _row(name: str) -> int:
    """The row number that a name writes; -1 for none."""
    text = canonical(name)
    return int(text) if _ROW.fullmatch(text) else -1


def _loosely(name: str) -> str:
    return canonical(name.strip()).casefold().lstrip("0") or "0"
