"""Dataset directories as Hugging Face `datasets` saves them with save_to_disk: Arrow streams and JSON that lists them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from rulesel.corpus.columnar import BATCH_ROWS, Batches, Columnar, Read, check_names
from rulesel.corpus.raw import Format
from rulesel.corpus.source import Source
from rulesel.errors import CorpusError


class DatasetDirectory(Columnar):
    """Reads one split of a dataset saved with `save_to_disk`."""

    format: ClassVar[Format] = "dataset"

    def __init__(self, source: Source) -> None:
        import pyarrow as pa

        self._split, directory = _split(source)
        paths = _data_files(directory, source)
        self._rows: list[int] = []
        schema = None
        for path in paths:
            try:
                with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
                    schema = schema or stream.schema
                    check_names(schema, source.name)
                    self._rows.append(sum(batch.num_rows for batch in stream))
            except (pa.ArrowException, OSError, ValueError) as error:
                raise CorpusError(
                    f"{source.name}: {path.name} is cut off or damaged; save the dataset again."
                ) from error
        super().__init__(paths, schema, sum(self._rows))

    def _spans(self) -> Iterator[tuple[int, Read]]:
        """See `Columnar`: the files."""
        for path, n_rows in zip(self.paths, self._rows, strict=True):
            yield n_rows, partial(_stream, path)

    def describe(self) -> str:
        """See `RecordReader`."""
        return f"dataset directory, {self._split}{self.n_rows:,} rows"


def _stream(path: Path) -> Batches:
    import pyarrow as pa

    with pa.memory_map(str(path)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            batch.validate(full=True)  # a stream carries no checksums, and wrong offsets would read outside the file
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


def _split(source: Source) -> tuple[str, Path]:
    """What to say about the split, and its directory; "train" where there are several."""
    listing = source.path / "dataset_dict.json"
    if not listing.exists():
        return "", source.path
    splits = _json(listing, source).get("splits")
    splits = [name for name in splits if isinstance(name, str)] if isinstance(splits, list) else []
    if len(splits) > 1 and "train" not in splits:
        paths = ", ".join(str(source.path / name) for name in splits)
        raise CorpusError(f"{source.name} holds several splits. Give one: {paths}")
    if not splits:
        raise CorpusError(f"{source.name} names no split in dataset_dict.json; save the dataset again.")
    chosen = "train" if "train" in splits else splits[0]
    others = ", ".join(name for name in splits if name != chosen)
    return f"split {chosen}" + (f" (not read: {others}), " if others else ", "), source.path / chosen


def _data_files(directory: Path, source: Source) -> list[Path]:
    state = directory / "state.json"
    if not state.exists():
        raise CorpusError(
            f"{source.name} is a directory, but no saved dataset (it has no state.json).{_inside(directory)}"
        )
    content = _json(state, source)
    if content.get("_indices_data_files") or content.get("_indices_files"):
        raise CorpusError(f"{source.name} is a view into other rows. Call flatten_indices() and save it again.")
    entries = content.get("_data_files")
    names = [e.get("filename") for e in entries if isinstance(e, dict)] if isinstance(entries, list) else []
    paths = [directory / name for name in names if isinstance(name, str)]
    missing = [path.name for path in paths if not path.is_file()]
    if missing or not paths:
        raise CorpusError(
            f"{source.name}: the data file {missing[0] if missing else '*.arrow'} is missing; save it again."
        )
    return paths


def _inside(directory: Path) -> str:
    """A hint at what in the directory could be read."""
    known = (".jsonl", ".ndjson", ".jsonl.gz", ".jsonl.zst", ".parquet", ".csv")
    found = sorted(path for path in directory.rglob("*") if path.name.endswith(known) or path.name == "state.json")
    if not found:
        return " Give a file, or a directory written by save_to_disk."
    first = found[0].parent if found[0].name == "state.json" else found[0]
    return f" Did you mean {str(first)!r}?" + (f" ({len(found)} such inside)" if len(found) > 1 else "")


def _json(path: Path, source: Source) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{source.name}: {path.name} cannot be read; save the dataset again.") from error
    return content if isinstance(content, dict) else {}
