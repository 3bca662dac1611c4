"""Every method with two modes against its definition written out, step by step, on small pools full of ties."""

import numpy as np
import pytest

import rulesel

SEEDS = range(60)
MODES = ["corrected", "published"]


def rows_with_copies(rng, n, d):
    """Rows of different length, some of them copies of one another."""
    rows = rng.normal(size=(n, d))
    return rows[rng.integers(0, n, n)] if rng.random() < 0.5 else rows


def some_given(rng, n):
    return rng.choice(n, rng.integers(0, 4), replace=False).tolist() if rng.random() < 0.5 else []


def units(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def follow(picks, given, open_rows, score, alike):
    """Every pick has the highest score of its step; of rows that are alike the first comes first."""
    members = list(given)
    left = [row for row in open_rows if row not in members]
    for pick in picks.tolist():
        scores = score(members)
        best = max(scores[row] for row in left)
        assert scores[pick] >= best - 1e-9 * max(1, abs(best))
        assert pick == next(row for row in left if (alike[row] == alike[pick]).all())
        members.append(pick)
        left.remove(pick)


def labels_of(rng, n, count):
    return [rng.integers(0, count + 1, rng.integers(0, 4)).tolist() for _ in range(n)]  # `count` itself is unknown


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_mig(seed, mode):
    rng = np.random.default_rng(seed)
    n, count = int(rng.integers(5, 25)), 6
    tags, quality, vectors = labels_of(rng, n, count), rng.integers(0, 4, n), rng.normal(size=(count, 2))
    given = some_given(rng, n)
    threshold, weight, normalise = rng.choice([0.5, 0.9, 1.1]), rng.choice([0, 0.5, 1, 2]), bool(rng.integers(2))
    edges = units(vectors) @ units(vectors).T
    edges = np.where(edges >= threshold, weight * edges, 0)
    np.fill_diagonal(edges, 1)
    share = edges / edges.sum(axis=0)
    amounts = np.zeros((n, count))
    for row, named in enumerate(tags):
        known = [label for label in named if label < count]
        divisor = len(known) if mode == "published" else len(set(known))  # their code counts a repeated label twice
        for label in set(known):
            amounts[row, label] = quality[row] / (divisor if normalise else 1)
    arriving = amounts @ share

    def score(members):
        there = arriving[members].sum(axis=0)
        if mode == "published":
            return arriving @ (0.8 * (there + 1e-6) ** -0.2)
        return ((there + arriving) ** 0.8 - there**0.8).sum(axis=1)

    found = rulesel.pick(
        "mig",
        8,
        tags=tags,
        quality=quality,
        tag_embeddings=vectors,
        given=given,
        threshold=threshold,
        propagation=weight,
        normalise_quality=normalise,
        mode=mode,
    )
    assert len(found) == min(8, n - len(given))
    follow(found.indices, given, range(n), score, np.column_stack([amounts, amounts]))
    members = list(given)
    for pick, key in zip(found.indices, found.keys, strict=True):
        assert key == pytest.approx(score(members)[pick], rel=1e-9, abs=1e-9)
        members.append(pick)


def densities(rows, reference, neighbors, power, mode):
    if mode == "corrected":
        rows, reference = units(rows), units(reference)
    reference = np.unique(np.round(reference, 9), axis=0)
    square = np.sort(((rows[:, None] - reference) ** 2).sum(axis=-1), axis=1)
    skipped = (square[:, 0] < 1e-12) | (mode == "published")
    mean = [near[int(skip) : int(skip) + neighbors].mean() for near, skip in zip(square, skipped, strict=True)]
    return (np.array(mean) + 1e-9) ** -power


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_novelselect(seed, mode):
    rng = np.random.default_rng(seed)
    n, neighbors = int(rng.integers(8, 30)), int(rng.integers(1, 6))
    rows, given = rows_with_copies(rng, n, 3), some_given(rng, n)
    density_power, distance_power = rng.choice([0, 0.5, 1]), rng.choice([0, 1, 2])
    density = densities(rows, rows, neighbors, density_power, mode)
    distance = np.maximum(1 - units(rows) @ units(rows).T, 0)
    distance[distance < 1e-12] = 0

    def score(members):
        weight = np.arange(1, len(members) + 1.0) ** -distance_power
        values = np.zeros(n)
        for row in range(n) if members else ():
            if mode == "published":  # both densities, ranks of the products, the mean
                values[row] = weight @ np.sort(distance[row, members] * (density[row] + density[members]))
                values[row] /= len(members)
            else:  # the neighbour's density, ranks of the distances, the sum
                order = np.argsort(np.round(distance[row, members], 12), kind="stable")
                values[row] = weight @ (distance[row, members] * density[members])[order]
        return values

    found = rulesel.pick(
        "novelselect",
        7,
        embeddings=rows,
        given=given,
        neighbors=neighbors,
        density_power=density_power,
        distance_power=distance_power,
        mode=mode,
        seed=42,
    )
    picks = found.indices
    if not given:
        if mode == "published":
            assert picks[0] == np.random.RandomState(42).randint(n)
        else:
            closeness = units(rows) @ units(rows).mean(axis=0)
            assert closeness[picks[0]] == pytest.approx(closeness.max())
        given, picks = [int(picks[0])], picks[1:]
    follow(picks, given, range(n), score, rows)
    for place, (pick, key) in enumerate(zip(picks, found.keys[-len(picks) :], strict=True)):
        assert key == pytest.approx(score([*given, *picks[:place].tolist()])[pick], rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_novelsum(seed, mode):
    rng = np.random.default_rng(seed)
    n, neighbors = int(rng.integers(12, 40)), int(rng.integers(1, 6))
    pool = rows_with_copies(rng, n, 3)
    chosen = rng.permutation(n)[: rng.integers(2, n)]
    density_power, distance_power = rng.choice([0, 0.25, 0.5]), rng.choice([0, 1, 2])
    density = densities(pool[chosen], pool, neighbors, density_power, mode)
    unit = units(pool[chosen])
    novelty = []
    for row in range(len(chosen)):
        distance = np.maximum(1 - unit @ unit[row], 0)
        distance[distance < 1e-12] = 0
        weight = np.arange(1, len(chosen) + 1.0) ** -distance_power
        if mode == "published":  # the row itself stays, its own density multiplies it, an average
            novelty.append(density[row] * (weight @ np.sort(distance)) / weight.sum())
        else:
            others = np.delete(np.arange(len(chosen)), row)
            order = others[np.argsort(distance[others], kind="stable")]
            novelty.append(weight[:-1] @ (distance * density)[order])
    found = rulesel.diversity(
        "novelsum",
        pool,
        chosen,
        neighbors=neighbors,
        density_power=density_power,
        distance_power=distance_power,
        mode=mode,
    )
    assert found == pytest.approx(np.mean(novelty) if mode == "published" else np.sum(novelty), rel=1e-4)


def filtered(unit, order, threshold, k, kept, batch):
    """DEITA's filter: the first row alone, then batches, in which rows passed over count as well."""
    kept, found, at = list(kept), [], 0
    while at < len(order) and len(found) < k:
        together = order[at : at + (batch if at else 1)]
        at += len(together)
        fine = [
            row
            for place, row in enumerate(together)
            if all(unit[row] @ unit[one] <= threshold + 1e-12 for one in [*kept, *together[:place]])
        ]
        kept += fine
        found += fine
    return found[:k]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("seed", SEEDS)
def test_deita(seed, batch, mode):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(5, 40))
    rows, quality, given = rows_with_copies(rng, n, 3), rng.integers(0, 5, n), some_given(rng, n)
    threshold = rng.choice([0.3, 0.7, 0.9, 1.0])
    order = [row for row in sorted(range(n), key=lambda row: -quality[row]) if row not in given]
    found = rulesel.pick(
        "deita", 8, embeddings=rows, quality=quality, given=given, threshold=threshold, batch=batch, mode=mode
    )
    expected = filtered(units(rows), order, threshold, 8, given, batch if mode == "published" else 1)
    assert found.indices.tolist() == expected
    assert found.keys.tolist() == quality[expected].tolist()


def covering(similarity, represented):
    def gains(members):
        covered = similarity[members][:, represented].max(axis=0) if members else 0
        return np.maximum(similarity[:, represented] - np.maximum(covered, 0), 0).sum(axis=1)

    return gains


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_superfiltering(seed, mode):
    rng = np.random.default_rng(seed)
    n, d, k = int(rng.integers(10, 40)), 4, 4
    rows, given = rows_with_copies(rng, n, d), some_given(rng, n)
    ifd = rng.choice([0, 0.2, 0.4, 0.5, 0.6, 0.8, 0.999, 1, 1.3, np.nan], n)
    published = mode == "published"
    passed = [row for row in range(n) if ifd[row] < 1 and (published or ifd[row] > 0) and row not in given]
    by_quality = sorted(passed, key=lambda row: -ifd[row])[: 3 * k]
    gated = by_quality if published else sorted(by_quality)
    if published:
        similarity = np.exp(-np.linalg.norm(rows[:, None] - rows[None], axis=2) / d)
    else:
        similarity = units(rows) @ units(rows).T
    found = rulesel.pick("superfiltering_d", k, embeddings=rows, quality=ifd, given=given, gate=3, mode=mode)
    assert len(found) == min(k, len(gated))
    assert found.report.get("shortfall", 0) == k - len(found)
    follow(found.indices, given, gated, covering(similarity, [*gated, *given]), rows)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", SEEDS)
def test_qdit(seed, mode):
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(6, 40)), 6
    rows, quality, given = rows_with_copies(rng, n, 4), rng.integers(-2, 5, n).astype(float), some_given(rng, n)
    alpha = rng.choice([0, 0.3, 0.5, 0.7, 1])
    gains = covering(units(rows) @ units(rows).T, np.arange(n))
    k = min(k, n - len(given))
    rank = np.array([((quality < q).sum() + ((quality == q).sum() - 1) / 2) / (n - 1) for q in quality])

    def score(members):
        if mode == "published":
            return (1 - alpha) * gains(members) + alpha * quality
        return (1 - alpha) * gains(members) / n + alpha * rank / k

    found = rulesel.pick("qdit", k, embeddings=rows, quality=quality, given=given, alpha=alpha, mode=mode)
    follow(found.indices, given, range(n), score, np.column_stack([rows, quality]))
    other = "raw" if mode == "published" else "normalised"
    again = rulesel.pick("qdit", k, embeddings=rows, quality=quality, given=given, alpha=alpha, scale=other)
    assert again.indices.tolist() == found.indices.tolist()


@pytest.mark.slow
def test_modes_pick_alike_where_what_they_differ_in_is_taken_away():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows, quality = rng.normal(size=(30, 4)), 0.9 - 0.8 * np.sort(rng.random(30))  # best first: one order for both
        tags = [rng.choice(6, 2, replace=False).tolist() for _ in range(30)]
        offered = {"embeddings": rows, "quality": quality, "tags": tags, "tag_embeddings": rng.normal(size=(6, 2))}
        for method, same in {
            "mig": {"phi": 1},
            "novelselect": {"density_power": 0, "first": 3},
            "deita": {"batch": 1, "threshold": 0.5},
            "superfiltering_d": {"similarity": "cosine"},
            "qdit": {"scale": "raw"},
        }.items():
            one, other = (rulesel.pick(method, 8, mode=mode, **offered, **same).indices.tolist() for mode in MODES)
            assert one == other
