"""Any measure of diversity on arrays; higher is more diverse throughout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, ValidationError, create_model

from rulesel.algorithms import diversity as measures
from rulesel.algorithms import lexical
from rulesel.algorithms.novelty import NovelSum, novelsum
from rulesel.algorithms.projection import fit_projection
from rulesel.errors import UnknownName, UsageError

Rows = npt.NDArray[np.floating[Any]]

ALONE: dict[str, Callable[..., float]] = {
    "distsum": measures.distsum,
    "knn": measures.knn,
    "vendi": measures.vendi,
    "logdet": measures.logdet,
}
"""Measures of the set itself."""

AGAINST: dict[str, Callable[..., Any]] = {
    "facility_location": measures.facility_location,
    "partition_entropy": measures.partition_entropy,
    "novelsum": novelsum,
}
"""Measures of the set within a reference pool."""

OF_WORDS: dict[str, Callable[..., float]] = {
    "ttr": lexical.ttr,
    "vocd_d": lexical.vocd_d,
    "mtld": lexical.mtld,
}
"""Measures of the words of a text, averaged over texts."""

MEASURES = (*OF_WORDS, *ALONE, *AGAINST)


def diversity(
    measure: str,
    embeddings: npt.ArrayLike | None,
    subset: npt.ArrayLike | None = None,
    *,
    reference: npt.ArrayLike | None = None,
    texts: Sequence[str] | None = None,
    **params: Any,  # noqa: ANN401 - the measure's own parameters
) -> float:
    """Diversity of a set of rows; higher is more diverse.

    Args:
        measure: `distsum` (mean cosine distance of two rows), `knn` (mean distance to the nearest other), `vendi`
            (effective number of rows), `logdet` (volume), `facility_location` (sum over the reference of the cosine to
            the nearest row), `partition_entropy` (over clusters of the reference, in nats), `novelsum`; or of words,
            averaged over the texts that are long enough: `ttr`, `vocd_d`, `mtld`.
        embeddings: (n, d); None for measures of words, or to embed `texts`.
        subset: rows of the set; all rows where None.
        reference: (m, d), for measures that have one; where None, all of `embeddings` if a subset is given, else the
            set itself.
        texts: n texts, for measures of words, or in place of embeddings.
        **params: the measure's own parameters, for example `neighbors`, `density_power`, `distance_power` and
            mode="published" (novelsum), `neighbors` (knn), `clusters` and `relative` (partition_entropy), `first` (ttr).

    Raises:
        UnknownName: no such measure.
        UsageError: a parameter the measure does not take, or of the wrong kind.
        ValueError: what the measure needs is missing or does not fit.
    """
    if measure not in MEASURES:
        raise UnknownName("measure", measure, MEASURES)
    params = _checked(measure, params)
    if measure in OF_WORDS:
        return _of_words(measure, texts, subset, reference, params)
    if embeddings is None and texts is None:
        raise ValueError(f"{measure} needs embeddings, or texts to embed.")
    pool = _embedded(texts) if embeddings is None and texts is not None else np.asarray(embeddings)
    if pool.ndim != 2:
        raise ValueError(f"embeddings must have shape (n, d), got {pool.shape}.")
    if pool.dtype.kind != "f" or pool.itemsize < 4:
        pool = pool.astype(np.float32 if pool.dtype == np.float16 else np.float64)
    rows = pool if subset is None else pool[_numbers(subset, len(pool))]
    if measure in ALONE:
        if reference is not None:
            raise ValueError(f"{measure} is a measure of the set alone: it takes no reference.")
        return ALONE[measure](rows, **params)
    found = AGAINST[measure](rows, pool if reference is None else np.asarray(reference), **params)
    return float(found.value if isinstance(found, NovelSum) else found)


def _checked(measure: str, params: dict[str, Any]) -> dict[str, Any]:
    """Parameters as the measure's own keywords declare them; arrays are its own business."""
    declared = signature((OF_WORDS | ALONE | AGAINST)[measure], eval_str=True).parameters.values()
    named = {p.name: p for p in declared if p.kind is Parameter.KEYWORD_ONLY}
    kinds: dict[str, Any] = {
        name: (Any if "ndarray" in str(p.annotation) else p.annotation, p.default) for name, p in named.items()
    }
    strict = ConfigDict(extra="forbid", allow_inf_nan=False)
    try:
        checked = create_model(measure, __config__=strict, **kinds).model_validate(params)
    except ValidationError as error:
        mistakes = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(f"{measure}: {mistakes}. Parameters: {', '.join(named) or 'none'}.") from error
    return {name: getattr(checked, name) for name in params}


def _of_words(
    measure: str,
    texts: Sequence[str] | None,
    subset: npt.ArrayLike | None,
    reference: npt.ArrayLike | None,
    params: dict[str, Any],
) -> float:
    if texts is None or reference is not None:
        raise ValueError(f"{measure} is a measure of words: it needs texts and takes no reference.")
    chosen = range(len(texts)) if subset is None else _numbers(subset, len(texts)).tolist()
    documents = (lexical.words(texts[row]) for row in chosen)
    return lexical.over_documents(lambda tokens: OF_WORDS[measure](tokens, **params), documents)[0]


def _embedded(texts: Sequence[str]) -> Rows:
    return fit_projection([texts]).embed(texts)


def _numbers(subset: npt.ArrayLike, n: int) -> npt.NDArray[np.int64]:
    rows = np.asarray(subset, dtype=np.int64)
    if rows.ndim != 1 or (len(rows) and (rows.min() < 0 or rows.max() >= n)):
        raise ValueError(f"subset must list rows of 0..{n - 1}.")
    return rows
