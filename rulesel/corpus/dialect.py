"""Dialects of CSV that would be misread: they are refused, so that no record is made that is not in the file."""

from __future__ import annotations

import csv
import functools
import re

from rulesel.corpus.advice import Subject
from rulesel.corpus.raw import BOM, Foreign
from rulesel.errors import CorpusError

_ESCAPED_QUOTE = b'\\"'
_DOUBLE_QUOTES = (
    r"""python3 -c 'import re, sys; sys.stdout.buffer.write(re.sub(rb"\\(.)", lambda m: {b"\"": b"\"\"", b"\\": b"\\"}"""
    r""".get(m[1], m[0]), sys.stdin.buffer.read(), flags=re.S))'"""
)
_SPACED = "python3 -c 'import csv, sys; csv.writer(sys.stdout).writerows(csv.reader(sys.stdin, {options}))'"


def refuse_header(header: bytes, file: Subject) -> None:
    """Refuse a first line that shows another dialect.

    Raises:
        CorpusError: what it is and what to do.
    """
    text = header.removeprefix(BOM).strip()
    if re.fullmatch(rb'"?sep=.?"?', text):
        command = file.through("tail -n +2", ".csv")
        raise CorpusError(
            f"{file.name} begins with {text.decode('utf-8', 'replace')!r}, a line for spreadsheets. Remove it: {command}"
        )
    if len(text) > 2 and re.fullmatch(rb"'[^'\"]*'([,;|\t] *'[^'\"]*')*", text):
        command = file.through(_SPACED.format(options=f'quotechar=chr(39), delimiter="{_mark(text)}"'), ".csv")
        raise CorpusError(f"{file.name} puts its cells into single quotes. Convert it: {command}")


def _mark(text: bytes) -> str:
    found = re.search(rb"'([,;|\t])", text[1:])
    return "," if found is None else {"\t": "\\t"}.get(found[1].decode(), found[1].decode())


def refuse_escapes(row: bytes, line: int, file: Subject) -> None:
    r"""Refuse quotes that are escaped by a backslash, in a row that makes no sense otherwise.

    Raises:
        Foreign: names the line and the command that doubles them.
    """
    if _ESCAPED_QUOTE in row:
        raise Foreign(
            f'escapes quotes by backslashes (\\" in line {line:,}), and CSV doubles them. '
            f"Convert it: {file.through(_DOUBLE_QUOTES, '.csv')}"
        )


def refuse_open(line: int) -> None:
    """Refuse a cell whose end cannot be told.

    Raises:
        Foreign: names the line.
    """
    raise Foreign(
        f"has a quote in line {line:,} that is not closed where its cell ends, so that no record after it is sure. "
        'Double the quotes inside quoted cells ("" for "), and fetch the file again if it is cut off there.'
    )


def refuse_remains(row: bytes, mark: str, broken: int, line: int) -> None:
    """Refuse what may be the rest of a broken row: a quote in a cell that is not quoted.

    Raises:
        Foreign: names both lines.
    """
    if b'"' in row and _well_formed(mark).fullmatch(row.decode("utf-8", "replace")) is None:
        raise Foreign(
            f"has quotes out of place in line {broken:,}, and line {line:,} may be a part of the same record. "
            'Double the quotes inside quoted cells ("" for ") and run again.'
        )


@functools.cache
def _well_formed(mark: str) -> re.Pattern[str]:
    cell = rf'(?:"(?:[^"]|"")*"|[^"{re.escape(mark)}]*)'
    return re.compile(rf"{cell}(?:{re.escape(mark)}{cell})*")


def refuse_ambiguous(row: bytes, cells: list[str] | None, mark: str, width: int, line: int, file: Subject) -> None:
    """Refuse a row that another dialect reads as other records.

    Raises:
        Foreign: names the line and what to do.
    """
    if cells is None or b'"' not in row:
        return
    if len(cells) != width and _ESCAPED_QUOTE in row and _escaped_width(row, mark) == width:
        refuse_escapes(row, line, file)
    if any(cell[:1] == " " and cell.lstrip().startswith('"') and cell.rstrip().endswith('"') for cell in cells):
        options = f'skipinitialspace=True, delimiter="{mark}"'.replace("\t", "\\t")
        raise Foreign(
            f"has a space before a quoted cell in line {line:,}, so that the quotes would count as text. "
            f"Convert it: {file.through(_SPACED.format(options=options), '.csv')}"
        )
    if mark == "\t" and b"\n" in row and all(part.count(b"\t") == width - 1 for part in row.split(b"\n")) and width > 1:
        raise Foreign(
            f"has a quote in line {line:,} that may be text, as its table has no quoting: every line up to the next quote "
            'is a row of its own. Put cells with quotes into quotes, and double those inside ("" for ").'
        )


def _escaped_width(row: bytes, mark: str) -> int:
    reader = csv.reader(
        row.decode("utf-8", "replace").splitlines(keepends=True), delimiter=mark, escapechar="\\", doublequote=False
    )
    try:
        return len(next(reader, []))
    except csv.Error:
        return 0
