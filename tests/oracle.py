"""A second derivation of scores and picks: NumPy and SQL on the store's views, and no code of rulesel.

From a receipt it takes what was asked for (settings, raters) and which rules were chosen, in their order; moments, weights,
scores, the coverage gate, thresholds, quotas, token budgets, ranks and ties it finds by itself.
"""

import hashlib
import math
from collections import Counter

import duckdb
import numpy as np
import orjson

GOLDEN = 0x9E3779B97F4A7C15


def mixed(value):
    """SplitMix64's output function (Steele, Lea, Flood 2014)."""
    value = (value + GOLDEN) % 2**64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


def moments(S):
    """Mean and population standard deviation of each column over the ratings present."""
    means, sds = [], []
    for column in np.asarray(S, dtype=np.float64).T:
        present = [float(one) for one in column if not math.isnan(one)]
        mean = math.fsum(present) / len(present)
        means.append(mean)
        sds.append(math.sqrt(math.fsum((one - mean) ** 2 for one in present) / len(present)))
    return np.array(means), np.array(sds)


def scores(S, mean, sd, sign, weights, coverage=0.9, *, raw=False):
    """Weighted mean of the z-scores present; NaN where less than `coverage` of the weight is."""
    found = []
    for row in np.asarray(S, dtype=np.float64):
        total = present = 0.0
        for value, m, s, turn, weight in zip(row, mean, sd, sign, weights, strict=True):
            if not math.isnan(value):
                total += weight * (value if raw else turn * (value - m) / s)
                present += abs(weight)
        enough = present > 0 and math.fsum(np.abs(weights)) - present <= 1 - coverage + 1e-9
        found.append(total / present if enough else math.nan)
    return np.array(found)


def picks(score, ids, *, k=None, threshold=None, groups=None, per=None, tokens=None, max_tokens=None):
    """Rows best first, ties by the lower id."""
    rows = [i for i in range(len(score)) if not math.isnan(score[i]) and (threshold is None or score[i] >= threshold)]
    order = sorted(rows, key=lambda i: (-score[i], ids[i]))
    if per is not None:
        seen, place = Counter(), {}
        for i in order:
            place[i] = seen[groups[i]]
            seen[groups[i]] += 1
        order = sorted((i for i in order if place[i] < per), key=lambda i: (-score[i], place[i], ids[i]))
    order = order[:k]
    if max_tokens is not None:
        spent = 0
        for n, i in enumerate(order):
            spent += tokens[i]
            if spent >= max_tokens:
                return order[: n + 1]
    return order


class Oracle:
    """What a store says of a receipt."""

    def __init__(self, store, receipt):
        self.receipt, self.config = receipt, receipt["config"]
        with duckdb.connect(str(store), read_only=True) as con:
            self.examples = con.execute(
                "SELECT example_id, row, occurrence, coalesce(length(prompt), 0) + length(response), record "
                "FROM current_examples ORDER BY row"
            ).fetchall()
            self.ratings = con.execute("SELECT example_id, rule_id, rater_id, score FROM ratings_long").fetchall()
            self.columns = con.execute('SELECT row, "column", direction, value FROM column_view').fetchall()
            self.kept = con.execute(
                "SELECT example_id FROM selection_view WHERE selection = ? ORDER BY rank", [receipt["selection"]["id"]]
            ).fetchall()
        self.hashes = [one[0].rpartition("-")[0] for one in self.examples]
        self.first = [one[2] == 0 for one in self.examples]
        everything = self.config["duplicates"] == "keep-all"
        self.pool = [i for i in range(len(self.examples)) if everything or self.first[i]]

    def key(self, i):
        """First 64 bits of the hash of the content."""
        return int(self.hashes[i].removeprefix("b2-")[:16], 16)

    def ids(self):
        """What settles ties: the key, moved on for each repetition."""
        return [(self.key(i) + self.examples[i][2] * GOLDEN) % 2**64 for i in self.pool]

    def sample(self):
        """Rows of the sample: those whose keyed hash is smallest."""
        seed = mixed(self.config["seed"] % 2**64)
        rows = [i for i in range(len(self.examples)) if self.first[i]]
        return sorted(rows, key=lambda i: mixed(self.key(i) ^ seed) >> 11)[: self.config["rules"]["sample"]]

    def matrix(self, rows, rater):
        """Ratings of rows under the chosen rules."""
        known = {(e.rpartition("-")[0], r): v for e, r, who, v in self.ratings if who == rater and v is not None}
        chosen = self.receipt["choice"]["rules"]
        return np.array([[known.get((self.hashes[i], one["id"]), math.nan) for one in chosen] for i in rows])

    def scored(self):
        """Score of each row of the pool; moments and weights are held against the receipt."""
        if "choice" not in self.receipt:
            name = self.config["select"]["quality"]
            held = {row: (v, way) for row, column, way, v in self.columns if column == name and v is not None}
            found = [held.get(self.examples[i][1], (math.nan, "higher")) for i in self.pool]
            return np.array([v if way == "higher" else -v for v, way in found])
        chosen = self.receipt["choice"]["rules"]
        mean, sd = moments(self.matrix(self.sample(), self.receipt["raters"]["sample"]))
        weights = np.full(len(chosen), 1 / len(chosen))
        for name, values in (("mean", mean), ("sd", sd), ("weight", weights)):
            np.testing.assert_allclose([one[name] for one in chosen], values, rtol=1e-9, atol=1e-12)
        S = self.matrix(self.pool, self.receipt["raters"]["corpus"])
        raw = self.receipt["choice"]["method"] == "paper"
        return scores(S, mean, sd, np.ones(len(chosen)), weights, self.config["coverage"], raw=raw)

    def picked(self):
        """Ids picked, best first, by method top_k."""
        select, score = self.config["select"], self.scored()
        k = select["k"]
        if select["fraction"] is not None:
            k = max(1, round(select["fraction"] * len(self.pool)))
        groups = per = None
        if select["per"]:
            ((field, per),) = select["per"].items()
            groups = [orjson.loads(self.examples[i][4]).get(field) for i in self.pool]
        rows = picks(
            score,
            self.ids(),
            k=k,
            threshold=select["threshold"],
            groups=groups,
            per=per,
            tokens=[-(-self.examples[i][3] // 4) for i in self.pool],
            max_tokens=select["max_tokens"],
        )
        return [self.examples[self.pool[i]][0] for i in rows]

    def agrees(self, written):
        """Whether receipt, store and the file of selected records hold these very picks."""
        ids = self.picked()
        held = [one for (one,) in self.kept]
        records = {one[0]: one[4] for one in self.examples}
        lines = b"".join(_bytes(records[one]).rstrip(b"\n") + b"\n" for one in ids)
        digest = hashlib.sha256("".join(f"{one}\n" for one in ids).encode()).hexdigest()
        return (
            ids == held
            and lines == written
            and digest == self.receipt["selection"]["sha256"]
            and len(ids) == self.receipt["counts"]["selected"]
        )


def _bytes(record):
    return record if isinstance(record, bytes) else record.encode()
