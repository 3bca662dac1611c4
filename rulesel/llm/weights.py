"""Which model it is, whatever folder it lies in: weights, tokenizer and chat template by their content."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

from rulesel.digest import digest
from rulesel.errors import UsageError
from rulesel.llm.vllm_setup import need_local

log = logging.getLogger(__name__)

_WEIGHTS = ("*.safetensors", "*.bin", "*.pt", "*.gguf")
_OTHER = ("config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.*", "merges.txt",
          "*.tiktoken", "tekken.json", "*.model", "chat_template*")  # fmt: skip
_LFS = re.compile(r"[0-9a-f]{64}")


def locate(model: str, revision: str | None = None) -> Path:
    """The folder of a model given by path or by Hugging Face id; what the cache does not hold is downloaded.

    Raises:
        UsageError: there is no such folder and no such model.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise UsageError(f"There is no model folder {model!r}.")
    hub = need_local("huggingface_hub", "Loading a model by its Hugging Face id")
    try:
        return Path(hub.snapshot_download(model, revision=revision, local_files_only=True))
    except Exception:  # noqa: BLE001 - the hub raises many kinds, all meaning that it is not in the cache
        log.info("fetching %s", model)
    try:
        return Path(hub.snapshot_download(model, revision=revision))
    except Exception as error:
        said = str(error).strip().splitlines() or [repr(error)]
        raise UsageError(f"Cannot find the model {model!r}: no such folder, and the hub says: {said[0]}") from error


def fingerprint(folder: Path) -> str:
    """Content address of weights, configuration, tokenizer and chat template.

    Raises:
        UsageError: the folder holds no weights or no config.json.
    """
    files = {path for pattern in _OTHER for path in folder.glob(pattern)}
    weights = next((found for pattern in _WEIGHTS if (found := set(folder.glob(pattern)))), set())
    if not weights or not (folder / "config.json").exists():
        raise UsageError(f"{folder} holds no model: it needs config.json and weights ({', '.join(_WEIGHTS)}).")
    paths = sorted(files | weights)
    with ThreadPoolExecutor(8) as pool:
        sums = list(pool.map(_sum, paths))
    return digest([[path.name, found] for path, found in zip(paths, sums, strict=True)])


def context_of(folder: Path) -> int | None:
    """The longest prompt the model was made for, None if its configuration does not say."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= config.get("text_config") or {}
    for key in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "max_sequence_length"):
        if isinstance(config.get(key), int):
            return int(config[key])
    return None


def cache_bytes(folder: Path, *, width: int = 2) -> int | None:
    """Bytes of key-value cache a token takes, None if the configuration does not say."""
    config: dict[str, Any] = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config |= config.get("text_config") or {}
    try:
        heads = int(config["num_attention_heads"])
        size = int(config.get("head_dim") or config["hidden_size"] // heads)
        return 2 * width * int(config["num_hidden_layers"]) * int(config.get("num_key_value_heads") or heads) * size
    except (KeyError, TypeError):
        return None


def _sum(path: Path) -> str:
    """SHA-256 of a file; a blob of the hub's cache carries it in its name."""
    blob = path.resolve().name
    if _LFS.fullmatch(blob):
        return blob
    status = path.stat()
    return _sum_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(4096)
def _sum_of(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
