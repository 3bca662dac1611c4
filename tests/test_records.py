"""Values that pass between the layers keep their promises."""

from rulesel.records import Anchors, Rule, RuleSet


def test_a_changed_copy_has_an_address_of_its_own():
    rule = Rule(name="a", text="It is good.", sql="1.0")
    rules = RuleSet(rules=(rule,))
    before = rule.id, rules.id
    bare = rule.model_copy(update={"sql": None})
    assert bare.id != rule.id
    assert bare.id == Rule(name="b", text="It is good.").id
    assert rule.model_copy(update={"name": "c"}).id == rule.id
    assert rule.model_copy(update={"anchors": Anchors(low="x", high="y")}).id not in {rule.id, bare.id}
    assert rules.model_copy(update={"rules": (bare,)}).id == RuleSet(rules=(bare,)).id != rules.id
    assert (rule.id, rules.id) == before
