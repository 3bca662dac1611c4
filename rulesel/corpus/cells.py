"""Rows of an Arrow table as values for JSON: no vectors, no binary columns; dates as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import pyarrow as pa


class Undecodable(NamedTuple):
    """Stands for a cell whose text is not UTF-8."""

    column: str


def rows_of(batch: pa.RecordBatch) -> list[dict[str, Any] | None]:
    """Rows as Python values; None for one whose text does not decode.

    A value that Python has no word for, and that is no text, is told by its type: a column that is not rated never
    costs a row.
    """
    kept = [i for i, field in enumerate(batch.schema) if not _bulky(field.type)]
    names = [batch.schema.names[i] for i in kept]
    columns = [_cells(batch.column(i), name) for i, name in zip(kept, names, strict=True)]
    if not columns:
        return [{} for _ in range(batch.num_rows)]
    rows = zip(*columns, strict=True)
    return [None if _broken(row) else dict(zip(names, row, strict=True)) for row in rows]


def _broken(row: tuple[Any, ...]) -> bool:
    return any(type(cell) is Undecodable for cell in row)


def _cells(array: pa.Array, name: str) -> list[Any]:
    """The values of a column; where the whole of it cannot be read, one after the other."""
    import pyarrow as pa

    try:
        return _values(array)
    except (ValueError, OverflowError, pa.ArrowException):
        if len(array) > 1:
            return [cell for i in range(len(array)) for cell in _cells(array.slice(i, 1), name)]
        return [Undecodable(name) if _has_text(array.type) else f"<{array.type}>"]


def _values(array: pa.Array) -> list[Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(array, pa.ExtensionArray) and _in_nanoseconds(array.type):
        array = array.storage
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    kind = array.type
    if pa.types.is_temporal(kind) or _in_nanoseconds(kind):
        array = _cast(array)
    return list(array.to_pylist())


def _cast(array: pa.Array) -> pa.Array:
    """Dates, times and durations as text; times of a zone that this machine does not know in UTC."""
    import pyarrow as pa

    try:
        return array.cast(_as_text(array.type))
    except pa.ArrowNotImplementedError:
        return array  # an interval of months, days and nanoseconds, which Python knows
    except pa.ArrowException:
        return array.cast(_as_text(array.type, step=True)).cast(_as_text(array.type))


def _as_text(kind: pa.DataType, *, step: bool = False) -> pa.DataType:
    """The type with text in place of what has to do with time; as a step to it, without time zones."""
    import pyarrow as pa

    t = pa.types

    def inner(field: pa.Field) -> pa.Field:
        return field.with_type(_as_text(field.type, step=step))

    if isinstance(kind, pa.BaseExtensionType):
        return _as_text(kind.storage_type, step=step)
    if step and t.is_timestamp(kind):
        return pa.timestamp(kind.unit)
    if t.is_temporal(kind):
        return kind if step else pa.string()
    if t.is_dictionary(kind):
        return _as_text(kind.value_type, step=step)
    if t.is_struct(kind):
        return pa.struct([inner(kind.field(i)) for i in range(kind.num_fields)])
    if t.is_map(kind):
        return pa.map_(inner(kind.key_field), inner(kind.item_field))
    if t.is_fixed_size_list(kind):
        return pa.list_(inner(kind.value_field), kind.list_size)
    if t.is_large_list(kind) or t.is_large_list_view(kind):
        return pa.large_list(inner(kind.value_field))
    return pa.list_(inner(kind.value_field)) if t.is_list(kind) or t.is_list_view(kind) else kind


def _parts(kind: pa.DataType) -> list[pa.DataType]:
    """The types inside a nested one."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return [kind.storage_type]
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return [kind.value_type]
    return [kind.field(i).type for i in range(kind.num_fields)]


def _in_nanoseconds(kind: pa.DataType) -> bool:
    """Whether Python's own dates are too coarse for it, or, in a dictionary, it has to be looked up first."""
    import pyarrow as pa

    if not _parts(kind):
        return pa.types.is_temporal(kind) and getattr(kind, "unit", "") == "ns"
    return any(_in_nanoseconds(part) for part in _parts(kind))


def _has_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    t = pa.types
    text = t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)
    return bool(text or any(_has_text(part) for part in _parts(kind)))


def _bulky(kind: pa.DataType) -> bool:
    import pyarrow as pa

    t = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _bulky(kind.storage_type)
    lists = (t.is_list, t.is_large_list, t.is_fixed_size_list, t.is_list_view, t.is_large_list_view)
    if any(is_one(kind) for is_one in lists):
        inner = kind.value_type
        return t.is_integer(inner) or t.is_floating(inner) or _bulky(inner)
    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_fixed_size_binary(kind) or t.is_binary_view(kind))
