"""A store and receipts of the version that permuted columns."""

import gzip
import shutil
from pathlib import Path

import pytest

OLD = Path(__file__).parents[1] / "fixtures" / "store_v1"


@pytest.fixture
def old(tmp_path, monkeypatch):
    """A copy of them, and the current folder."""
    folder = tmp_path / "old"
    shutil.copytree(OLD, folder)
    (folder / "store.duckdb").write_bytes(gzip.decompress((folder / "store.duckdb.gz").read_bytes()))
    monkeypatch.chdir(folder)
    return folder
