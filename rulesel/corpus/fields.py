"""Any field of stored records, read again from their bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from rulesel.corpus.jsonl import parse
from rulesel.corpus.raw import Format
from rulesel.corpus.shapes import require_field
from rulesel.corpus.tabular import delimiter, field_names, parse_rows


def field_values(records: Sequence[bytes], format: Format, header: bytes | None, field: str) -> list[str | None]:  # noqa: A002
    """The value of a field in each stored record, as text.

    Args:
        records: as a `Chunk` gave them.
        format: the corpus's format.
        header: the corpus's header; needed for CSV.
        field: name of the field.

    Returns:
        A string as it is, any other value as JSON; None where the field is missing, null or nested too deeply to write.

    Raises:
        CorpusError: a CSV header has no such field.
    """
    if format != "csv":
        return [_as_text(parse(record).get(field)) for record in records]
    names = field_names(header or b"")
    require_field(field, names, "field", "the CSV header")
    column = names.index(field)
    rows = parse_rows((record.decode("utf-8") for record in records), delimiter(header or b""))
    return [row[column] for row in rows]


def fields_reader(format: Format, header: bytes | None) -> Callable[[bytes], dict[str, Any]]:  # noqa: A002
    """What takes the fields out of a stored record of a corpus; the arguments are those of `field_values`."""
    if format != "csv":
        return parse
    names, mark = field_names(header or b""), delimiter(header or b"")
    return lambda record: dict(zip(names, next(parse_rows([record.decode("utf-8")], mark)), strict=True))


def _as_text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    except RecursionError:
        return None
