"""Choose few rules that bear on quality, can be trusted, and do not repeat one another.

Kernel diag(q) C diag(q) with the correlations C of the rules and a worth q each; the set of largest determinant.
The published way (arXiv 2410.04715), one draw of a k-DPP on the uncentred Gram matrix, is method "paper".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rulesel.algorithms.dpp import log_det
from rulesel.algorithms.kdpp import KDpp, numerical_rank
from rulesel.algorithms.moments import noise_edge
from rulesel.algorithms.threads import one_blas_thread
from rulesel.rules.choice import RuleChoice
from rulesel.rules.how_many import automatic, residual_variance, suggest
from rulesel.rules.methods import Method, pick
from rulesel.rules.offer import Offer, Request, offer, offer_as_published, standardised
from rulesel.rules.weights import WeightKind, aggregation_weights

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kernel = Literal["weighted", "correlation", "covariance", "gram"]


@one_blas_thread
def choose_rules(
    S: npt.ArrayLike,
    r: int | Literal["auto"],
    *,
    method: Method = "map",
    kernel: Kernel | None = None,
    reliability: npt.ArrayLike | None = None,
    anchor: npt.ArrayLike | None = None,
    seed: int = 0,
    names: Sequence[str] | None = None,
    required: Sequence[int | str] = (),
    forbidden: Sequence[int | str] = (),
    negative: Sequence[int | str] = (),
    costs: npt.ArrayLike | None = None,
    q: npt.ArrayLike | None = None,
    weights: WeightKind = "uniform",
) -> RuleChoice:
    """Choose r of R rules from the ratings of a sample.

    Args:
        S: ratings, higher is better, any scale, NaN where a rating failed, shape (n, R).
        r: how many rules, or "auto" to stop where a further one would mostly repeat the others.
        method: map, the largest determinant (greedy from every start, then exchanges); exhaustive, the same by
            enumeration; best_of, the best of a thousand exact k-DPP draws; sample, one such draw; marginal, the
            rules most often in a draw; cluster, the worthiest of each of r clusters; top, the r worthiest whether or
            not they repeat one another; paper, one draw by DPPy on the Gram matrix of the raw ratings, which are
            then scored by their plain mean.
        kernel: weighted, diag(q) C diag(q); correlation, C; covariance; gram, uncentred. None is weighted, or gram
            for method paper.
        reliability: agreement of each rule with a re-rating, in (0, 1], NaN where unknown, shape (R,).
        anchor: grades of some examples from elsewhere, higher is better, NaN where unknown, shape (n,).
        seed: names the draw of a random method.
        names: ids of the rules: ties go to the lower one, so that a choice does not depend on the rules' order.
        required: rules that must be in, by index or name.
        forbidden: rules that must not, by index or name.
        negative: rules whose ratings are better when lower; turned when they do run against the others.
        costs: price of rating one example on each rule, > 0, shape (R,); q^2 is then counted per unit of price.
        q: worth of each rule, > 0, shape (R,), in place of the estimate.
        weights: how the chosen rules' ratings are averaged; see `aggregation_weights`.

    Raises:
        ValueError: fewer usable or independent rules than r, or arguments that do not fit together.
    """
    ratings = _ratings(S)
    count = ratings.shape[1]
    paper = method == "paper"
    kind: Kernel = kernel or ("gram" if paper else "weighted")
    _check_words(method, kind, paper=paper, required=required)
    request = Request(
        ids=_names(names, count),
        required=_positions(required, names, count),
        forbidden=_positions(forbidden, names, count),
        negative=_positions(negative, names, count),
        reliability=_vector(reliability, count, "reliability", high=1.0),
        anchor=_vector(anchor, len(ratings), "anchor"),
        costs=_vector(costs, count, "costs", low=0.0),
        q=_vector(q, count, "q", low=0.0),
    )
    on_offer = offer_as_published(ratings, request) if paper else offer(ratings, request)
    rules = np.array(sorted(np.flatnonzero(on_offer.live).tolist(), key=request.ids.__getitem__), dtype=np.int64)
    turn = on_offer.sign[rules]
    C = on_offer.C[np.ix_(rules, rules)] * np.outer(turn, turn)
    suggested = suggest(C, on_offer.q[rules], len(ratings)) if len(rules) else {}
    usable = len(rules)
    size = max(automatic(suggested, usable), len(request.required)) if r == "auto" and usable else r
    size = _check_size(size, request, on_offer)

    L = _kernel(kind, on_offer, rules, C)
    inside = [int(np.flatnonzero(rules == j)[0]) for j in request.required]
    chosen = pick(method, L, size, C=C, q=on_offer.q[rules], required=inside, seed=seed)
    return _report(ratings, request, on_offer, rules, chosen, L, C, method, kind, seed, weights, suggested)


def _kernel(kind: Kernel, on_offer: Offer, rules: Ints, C: Floats) -> Floats:
    """The chosen kernel over the rules on offer, oriented, shape (rules, rules)."""
    block = np.ix_(rules, rules)
    if kind == "correlation":
        return C
    if kind == "weighted":
        return C * np.outer(on_offer.q[rules], on_offer.q[rules])
    if kind == "covariance":
        sd = on_offer.sums.sd[rules]
        return C * np.outer(sd, sd)
    gram: Floats = on_offer.sums.gram()[block]
    scaled: Floats = gram * (len(rules) / np.trace(gram))
    return scaled


def _report(
    ratings: npt.NDArray[np.floating],
    request: Request,
    on_offer: Offer,
    rules: Ints,
    chosen: Ints,
    L: Floats,
    C: Floats,
    method: Method,
    kernel: Kernel,
    seed: int,
    weights: WeightKind,
    suggested: dict[str, int],
) -> RuleChoice:
    indices, r, count = rules[chosen].tolist(), len(chosen), on_offer.sums.columns
    inclusion = np.zeros(count)
    # Methods that do not ask for independent rules may go past the rank, where no k-DPP exists.
    inclusion[rules] = KDpp(L, r).inclusion() if r <= numerical_rank(np.linalg.eigvalsh(L)) else np.nan
    inner = C[np.ix_(chosen, chosen)]
    rho = float(np.linalg.norm(inner - np.eye(r))) / r
    reliability = np.full(count, np.nan) if request.reliability is None else request.reliability
    graded = None
    if request.anchor is not None:
        rows = np.flatnonzero(~np.isnan(request.anchor))
        graded = (standardised(ratings[rows], on_offer.sums) * on_offer.sign)[:, indices], request.anchor[rows]
    return RuleChoice(
        indices=indices,
        weights=aggregation_weights(weights, inner, reliability=reliability[indices], graded=graded),
        q=on_offer.q,
        inclusion=inclusion,
        logdet=log_det(L, chosen),
        rho=rho,
        rms_corr=rho * float(np.sqrt(r / (r - 1))) if r > 1 else 0.0,
        dropped=sorted(on_offer.dropped.items()),
        method=method,
        kernel=kernel,
        seed=seed,
        names=[str(name) for name in request.ids],
        examples=len(ratings),
        relevance=on_offer.relevance,
        trust=on_offer.trust,
        evidence=on_offer.evidence,
        reliability=reliability,
        mean=on_offer.sums.mean,
        sd=on_offer.sums.sd,
        sign=on_offer.sign,
        correlation=on_offer.C,
        residual=residual_variance(inner, np.arange(r)),
        raw=method == "paper",
        noise_edge=noise_edge(len(rules), len(ratings)),
        clipped=on_offer.clipped,
        suggested_r=suggested,
        warnings=on_offer.warnings,
    )


def _check_words(method: str, kernel: str, *, paper: bool, required: Sequence[int | str]) -> None:
    for name, word, known in (("method", method, get_args(Method)), ("kernel", kernel, get_args(Kernel))):
        if word not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {word!r}.")
    if paper and (kernel != "gram" or len(required)):
        raise ValueError("Method 'paper' draws on the Gram matrix and takes no required rules; use method 'sample'.")


def _check_size(r: int | Literal["auto"], request: Request, on_offer: Offer) -> int:
    usable = int(on_offer.live.sum())
    if r == "auto":
        r = 1  # nothing can be used: the message below says why
    if r < 1:
        raise ValueError(f"r must be at least 1 or 'auto', got {r!r}.")
    if len(request.required) > r:
        raise ValueError(f"{len(request.required)} rules are required, more than r = {r}.")
    if r > usable:
        reasons = "; ".join(f"{request.ids[j]}: {why}" for j, why in sorted(on_offer.dropped.items())[:5])
        more = "; …" if len(on_offer.dropped) > 5 else ""
        raise ValueError(
            f"Cannot choose r = {r}: {usable} of {len(on_offer.live)} rules can be used."
            + (f" Dropped: {reasons}{more}." if reasons else "")
        )
    return r


def _ratings(S: npt.ArrayLike) -> npt.NDArray[np.floating]:
    ratings = np.asarray(S)
    if ratings.dtype.kind != "f":
        ratings = ratings.astype(np.float64)
    if ratings.ndim != 2 or 0 in ratings.shape:
        raise ValueError(f"Ratings must have shape (examples, rules), got {ratings.shape}.")
    return ratings


def _names(names: Sequence[str] | None, count: int) -> list[str] | list[int]:
    if names is None:
        return list(range(count))
    labels = [str(name) for name in names]
    if len(labels) != count or len(set(labels)) != count:
        raise ValueError(
            f"names must be {count} distinct ids, one a rule; got {len(labels)}, {len(set(labels))} distinct."
        )
    return labels


def _positions(rules: Sequence[int | str], names: Sequence[str] | None, count: int) -> list[int]:
    found = []
    for rule in rules:
        if isinstance(rule, str):
            if names is None or rule not in names:
                raise ValueError(f"There is no rule named {rule!r}.")
            found.append(list(names).index(rule))
        elif 0 <= int(rule) < count:
            found.append(int(rule))
        else:
            raise ValueError(f"There is no rule {rule}; there are {count}.")
    return sorted(set(found))


def _vector(
    values: npt.ArrayLike | None, length: int, name: str, *, low: float = -np.inf, high: float = np.inf
) -> Floats | None:
    if values is None:
        return None
    vector = np.asarray(values, dtype=np.float64)
    if vector.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {vector.shape}.")
    if np.isinf(vector).any() or (vector > high + 1e-9).any() or (vector <= low).any():
        raise ValueError(f"{name} must be finite, above {low:g} and at most {high:g}.")
    return vector
