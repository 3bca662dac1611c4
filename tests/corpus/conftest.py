"""Corpora in every format, made with pyarrow and the standard library alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest


@pytest.fixture
def save_to_disk() -> Callable[[list[pa.Table], Path], None]:
    """Writes a dataset directory as the function of that name in Hugging Face `datasets` leaves it."""

    def save(tables: list[pa.Table], directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        names = [f"data-{i:05d}-of-{len(tables):05d}.arrow" for i in range(len(tables))]
        for name, table in zip(names, tables, strict=True):
            with pa.ipc.new_stream(str(directory / name), table.schema) as stream:
                stream.write_table(table, max_chunksize=7)
        state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": "train"}
        (directory / "state.json").write_text(json.dumps(state))
        (directory / "dataset_info.json").write_text("{}")

    return save
