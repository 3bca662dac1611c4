"""Any selection method on arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.projection import fit_projection
from rulesel.plugins import build
from rulesel.records import Selection
from rulesel.selection._combinators import choose
from rulesel.selection._contract import Pool, Selector


def pick(
    method: str,
    k: int | None,
    *,
    embeddings: npt.ArrayLike | None = None,
    quality: npt.ArrayLike | None = None,
    tags: Sequence[Sequence[str | int]] | None = None,
    tag_embeddings: Mapping[str, npt.ArrayLike] | npt.ArrayLike | None = None,
    texts: Sequence[str] | None = None,
    columns: Mapping[str, npt.ArrayLike] | None = None,
    given: npt.ArrayLike | None = None,
    token_counts: npt.ArrayLike | None = None,
    max_tokens: int | None = None,
    ids: Sequence[str] | npt.NDArray[np.generic] | None = None,
    seed: int = 0,
    **params: Any,  # noqa: ANN401 - the method's own parameters, checked by its model
) -> Selection:
    """Pick k of n rows with any method of `rulesel catalog`.

    Args:
        method: the method's name.
        k: how many rows; None where `max_tokens` alone is the budget.
        embeddings: (n, d); a row with NaN has none.
        quality: (n,), higher is better, NaN where unknown.
        tags: n lists of labels, str or int.
        tag_embeddings: tag -> vector, or (L, d) indexed by int tags.
        texts: n texts; they become the column `length` in characters, and, where the method reads embeddings and none
            are given, those of `rulesel.algorithms.projection`: hashed words, TF-IDF and a truncated SVD.
        columns: further numbers by name, (n,) each, higher is better; not named as another argument.
        given: rows already chosen elsewhere.
        token_counts: (n,), for max_tokens.
        max_tokens: stop once the picks hold this many tokens.
        ids: (n,) stable ids: ties and draws depend on them, not on the order of rows.
        seed: names the draw.
        **params: the method's own parameters.

    Returns:
        Selection: indices (k,) best first, keys (k,), report.

    Raises:
        UsageError: no such method, or a parameter it does not take.
        ValueError: arrays that do not fit together, or that the method lacks.
    """
    if k is not None and int(k) != k:
        raise ValueError(f"k must be a whole number, got {k}.")
    selector = build("rulesel.selection", method, Selector, params)
    found: dict[str, Any] = {}
    if embeddings is not None:
        found["embeddings"] = _vectors(embeddings)
    if quality is not None:
        found["quality"] = _rows(quality, "quality", 1).astype(np.float64)
    if token_counts is not None:
        found["token_counts"] = _rows(token_counts, "token_counts", 1).astype(np.int64)
    numbers = {
        name: _rows(values, f"columns[{name!r}]", 1).astype(np.float64) for name, values in (columns or {}).items()
    }
    if texts is not None:
        if "length" in numbers:
            raise ValueError("Give texts or columns['length'], not both: texts become that column.")
        numbers["length"] = np.array([len(text) for text in texts], dtype=np.float64)
        if "embeddings" in selector.reads and embeddings is None and len(texts):
            found["embeddings"] = fit_projection([texts]).embed(texts)
    n = _length(found | numbers | {"tags": tags, "ids": ids})
    pool = Pool(
        n=n,
        ids=None if ids is None else np.asarray(ids),
        tags=tags,
        tag_embeddings=_tag_vectors(tag_embeddings),
        columns=numbers,
        given=_given(given, n),
        **found,
    )
    return choose(selector, pool, k=k, max_tokens=max_tokens, seed=seed)


def _rows(values: npt.ArrayLike, name: str, dimensions: int) -> npt.NDArray[Any]:
    array = np.asarray(values)
    if array.ndim != dimensions:
        raise ValueError(f"{name} must have {dimensions} dimension(s), got shape {array.shape}.")
    return array


def _vectors(embeddings: npt.ArrayLike) -> npt.NDArray[np.floating[Any]]:
    rows = _rows(embeddings, "embeddings", 2)
    if rows.dtype in {np.dtype(np.float32), np.dtype(np.float64)}:
        return rows
    return rows.astype(np.float32 if rows.dtype == np.float16 else np.float64)


def _length(given: Mapping[str, Any]) -> int:
    lengths = {name: len(value) for name, value in given.items() if value is not None}
    if not lengths:
        raise ValueError("Give at least one of embeddings, quality, tags, texts, columns, token_counts, ids.")
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Arrays of different length: {lengths}.")
    return next(iter(lengths.values()))


def _given(given: npt.ArrayLike | None, n: int) -> npt.NDArray[np.int64]:
    rows = np.asarray([] if given is None else given)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise ValueError(f"given must list numbers of rows, got {rows.dtype} of shape {rows.shape}.")
    rows = np.unique(rows.astype(np.int64))
    if len(rows) and (rows[0] < 0 or rows[-1] >= n):
        raise ValueError(f"given holds rows outside 0 to {n - 1}.")
    return rows


def _tag_vectors(vectors: Any) -> Any:  # noqa: ANN401 - mapping or array
    if vectors is None or isinstance(vectors, np.ndarray):
        return vectors
    if isinstance(vectors, Mapping):
        return {tag: np.asarray(vector) for tag, vector in vectors.items()}
    return np.asarray(vectors)
