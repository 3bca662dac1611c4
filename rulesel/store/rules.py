"""Rules, rule sets and raters: the names behind the numbers in the ratings table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from rulesel.records import Anchors, Rule, RuleSet
from rulesel.store.database import Database


class RuleTable:
    """Rules, rule sets and raters, each known by its content address."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def numbers(self, rules: Sequence[Rule]) -> list[int]:
        """Each rule's number in the store; new rules are added."""
        known = dict(self._db.rows("SELECT id, rule FROM rules"))
        new = [rule for rule in rules if rule.id not in known]
        if new:
            first = max(known.values(), default=-1) + 1
            known |= {rule.id: first + i for i, rule in enumerate(new)}
            columns = ("id", "name", "text", "polarity", "sql")
            table = pa.table(
                {"rule": pa.array([known[rule.id] for rule in new], pa.int32())}
                | {c: pa.array([getattr(rule, c) for rule in new], pa.string()) for c in columns}
                | {
                    f"anchor_{end}": pa.array([getattr(rule.anchors, end, None) for rule in new], pa.string())
                    for end in ("low", "high")
                }
            )
            self._db.insert("rules", table)
        return [known[rule.id] for rule in rules]

    def keep(self, rule_set: RuleSet) -> None:
        """Record a rule set, its order and origin."""
        if self._db.one("SELECT count(*) FROM rule_sets WHERE id = ? AND origin = ?", rule_set.id, rule_set.origin):
            return
        n = len(rule_set)
        self._db.insert(
            "rule_sets",
            pa.table(
                {
                    "id": [rule_set.id] * n,
                    "origin": [rule_set.origin] * n,
                    "domain": [rule_set.domain] * n,
                    "position": pa.array(range(n), pa.int32()),
                    "rule": pa.array(self.numbers(rule_set.rules), pa.int32()),
                    "name": [rule.name for rule in rule_set.rules],
                }
            ),
        )

    def rule_set(self, identity: str) -> RuleSet:
        """A recorded rule set.

        Raises:
            KeyError: the store knows none of that id.
        """
        rows = self._db.rows(
            "SELECT s.origin, s.domain, s.name, r.text, r.polarity, r.anchor_low, r.anchor_high, r.sql "
            "FROM rule_sets s JOIN rules r USING (rule) WHERE s.id = ? "
            "AND s.origin = (SELECT min(origin) FROM rule_sets WHERE id = s.id) ORDER BY position",
            identity,
        )
        if not rows:
            raise KeyError(identity)
        rules = tuple(
            Rule(
                name=name,
                text=text,
                polarity=polarity,
                anchors=Anchors(low=low, high=high) if low else None,
                sql=sql,
            )
            for _, _, name, text, polarity, low, high, sql in rows
        )
        return RuleSet(origin=rows[0][0], domain=rows[0][1], rules=rules)

    def keep_written(self, asked: str, rule_set: RuleSet) -> None:
        """Remember a rule set under the content address of how it was asked for."""
        with self._db.transaction():
            self.keep(rule_set)
            self._db.con.execute("INSERT INTO settings VALUES (?, ?)", [f"written {asked}", rule_set.id])

    def written(self, asked: str) -> RuleSet | None:
        """The rule set remembered under that address."""
        known = self._db.one("SELECT value FROM settings WHERE name = ?", f"written {asked}")
        return None if known is None else self.rule_set(str(known))

    def keep_check(self, rater: str, kind: str, found: dict[str, Any]) -> None:
        """Remember what a check of a rater found; the last of a kind counts."""
        name = f"check {kind} {rater}"
        with self._db.transaction():
            self._db.con.execute("DELETE FROM settings WHERE name = ?", [name])
            self._db.con.execute("INSERT INTO settings VALUES (?, ?)", [name, json.dumps(found)])

    def check(self, rater: str, kind: str) -> dict[str, Any] | None:
        """What the last check of that kind found."""
        known = self._db.one("SELECT value FROM settings WHERE name = ?", f"check {kind} {rater}")
        return None if known is None else dict(json.loads(known))

    def keep_start(self, rater: str, chosen: dict[str, Any]) -> None:
        """Remember the start of a rater's answers, under the rater's identity without a start."""
        self._db.con.execute("INSERT INTO settings VALUES (?, ?)", [f"start {rater}", json.dumps(chosen)])

    def start(self, rater: str) -> dict[str, Any] | None:
        """What was remembered."""
        known = self._db.one("SELECT value FROM settings WHERE name = ?", f"start {rater}")
        return None if known is None else dict(json.loads(known))

    def rater(self, identity: str, judge: str, parameters: dict[str, Any], provenance: dict[str, Any]) -> int:
        """The rater's number in the store; a new one is added."""
        known = self._db.one("SELECT rater FROM raters WHERE id = ?", identity)
        if known is not None:
            return int(known)
        number = int(self._db.one("SELECT coalesce(max(rater), -1) + 1 FROM raters"))
        self._db.con.execute(
            "INSERT INTO raters VALUES (?, ?, ?, ?, ?)",
            [number, identity, judge, json.dumps(parameters), json.dumps(provenance)],
        )
        return number

    def rater_number(self, identity: str) -> int:
        """Number of a known rater.

        Raises:
            KeyError: the store knows none of that id.
        """
        known = self._db.one("SELECT rater FROM raters WHERE id = ?", identity)
        if known is None:
            raise KeyError(identity)
        return int(known)

    def answer_start(self, identity: str) -> str:
        """What every answer of a known rater starts with; empty for nothing."""
        known = self._db.one("SELECT parameters FROM raters WHERE id = ?", identity)
        return "" if known is None else str(json.loads(known).get("start") or "")
