"""What an edit of the rules makes of the ratings already paid for."""

from __future__ import annotations

from dataclasses import dataclass

from rulesel.records import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class RuleDiff:
    """Two states of a rule set.

    Attributes:
        same: rules whose ratings stay, whatever they are called now.
        renamed: of those, (before, after) where only the name changed.
        edited: (before, after) of rules that kept their name and changed otherwise: ratings of `before` are no longer
            read, `after` has to be rated.
        added: rules to be rated.
        removed: rules whose ratings are no longer read.
    """

    same: tuple[Rule, ...]
    renamed: tuple[tuple[Rule, Rule], ...]
    edited: tuple[tuple[Rule, Rule], ...]
    added: tuple[Rule, ...]
    removed: tuple[Rule, ...]

    @property
    def stale(self) -> tuple[Rule, ...]:
        """Rules whose ratings are no longer read. They stay in the store: undoing the edit costs nothing."""
        return (*(before for before, _ in self.edited), *self.removed)

    @property
    def unrated(self) -> tuple[Rule, ...]:
        """Rules that have to be rated; each costs a cell an example."""
        return (*(after for _, after in self.edited), *self.added)


def diff_rules(before: RuleSet, after: RuleSet) -> RuleDiff:
    """Compare two states by content, then by name."""
    old, new = {rule.id: rule for rule in before.rules}, {rule.id: rule for rule in after.rules}
    same = tuple(rule for rule in after.rules if rule.id in old)
    gone = {rule.name: rule for rule in before.rules if rule.id not in new}
    come = [rule for rule in after.rules if rule.id not in old]
    edited = tuple((gone[rule.name], rule) for rule in come if rule.name in gone)
    names = {rule.name for _, rule in edited}
    return RuleDiff(
        same=same,
        renamed=tuple((old[rule.id], rule) for rule in same if old[rule.id].name != rule.name),
        edited=edited,
        added=tuple(rule for rule in come if rule.name not in names),
        removed=tuple(rule for name, rule in gone.items() if name not in names),
    )
