from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rulesel.errors import UnknownName, UsageError
from rulesel.raters import Lent
from rulesel.raters.signals import Signals
from rulesel.records import Anchors, Batch, Rule, RuleSet, Status
from rulesel.rules.lint import lint
from rulesel.rules.packs import folder, load_rules, nearest_pack, pack_names, save_rules

BATTERY = yaml.safe_load((Path(__file__).parent / "battery.yaml").read_text(encoding="utf-8"))
CASES = [(pack, rule, case) for pack, cases in BATTERY.items() for case in cases for rule in case["rules"]]
PACKS = ["code", "general-instructions", "mathematics", "medical", "reviews"]


def ratings(rules, prompts, responses):
    rater = Signals()
    try:
        batch = Batch([""] * len(responses), list(prompts), list(responses))
        (found,) = rater.rate([batch], rules, Lent(b"", lambda name: None))
    finally:
        rater.close()
    return found


@pytest.fixture(scope="module")
def rated():
    """(pack, rule, position of the case) to (good, bad)."""
    found = {}
    for pack, cases in BATTERY.items():
        rules = [rule for rule in load_rules(f"pack:{pack}").rules if rule.sql is not None]
        prompts = [case.get(key, case.get("prompt")) for case in cases for key in ("prompt", "bad_prompt")]
        responses = [case[key] for case in cases for key in ("good", "bad")]
        values = ratings(rules, prompts, responses).values
        for j, rule in enumerate(rules):
            for i in range(len(cases)):
                found[pack, rule.name, i] = values[2 * i, j], values[2 * i + 1, j]
    return found


def test_five_packs_ship():
    assert pack_names() == PACKS


@pytest.mark.parametrize("name", PACKS)
def test_a_pack_has_enough_rules_and_expressions(name):
    rules = load_rules(f"pack:{name}")
    assert len(rules) >= 25
    assert sum(rule.sql is not None for rule in rules.rules) >= 20
    assert rules.origin == f"pack:{name}"
    assert rules.domain


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.slow
def test_every_expression_of_a_pack_is_accepted(name):
    rater = Signals()
    refused = {rule.name: rater.refuses(rule) for rule in load_rules(f"pack:{name}").rules if rule.sql is not None}
    rater.close()
    assert not {rule: why for rule, why in refused.items() if why}


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.slow
def test_the_linter_has_nothing_to_say_against_a_pack(name):
    assert lint(load_rules(f"pack:{name}")) == []


@pytest.mark.parametrize("name", PACKS)
@pytest.mark.slow
def test_every_expression_of_a_pack_stays_in_range_on_odd_texts(name):
    odd = ["", " ", "\n\n", "\0", "a", "```", "1/0=0", "((((", "'", '"', "你好。世界！", "👩‍👩‍👧", "a\u0301" * 50, "x" * 60_000,
           "<<=>>", "= = =", "1e999 " * 3, "word " * 3000, "\r\n".join(["- item"] * 200), "٣ + ٤ = ٧", "nan inf -1"]  # fmt: skip
    rules = [rule for rule in load_rules(f"pack:{name}").rules if rule.sql is not None]
    for prompts in ([None] * len(odd), odd):
        found = ratings(rules, prompts, odd)
        wrong = np.argwhere((found.status != Status.ok) & (found.status != Status.not_applicable))
        assert [(rules[j].name, odd[i][:20], found.reasons.get((i, j))) for i, j in wrong] == []


def test_the_battery_has_a_pair_for_every_rule_with_an_expression():
    wanted = {(p, rule.name) for p in PACKS for rule in load_rules(f"pack:{p}").rules if rule.sql is not None}
    assert wanted == {(pack, rule) for pack, rule, _ in CASES}


@pytest.mark.parametrize(("pack", "rule", "case"), CASES, ids=[f"{p}:{r}:{c['good'][:12]}" for p, r, c in CASES])
@pytest.mark.slow
def test_a_rule_rates_the_good_example_above_the_bad_one(rated, pack, rule, case):
    good, bad = rated[pack, rule, BATTERY[pack].index(case)]
    assert good > bad + 0.05


def test_a_pack_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(UnknownName, match="Did you mean 'mathematics'"):
        load_rules("pack:mathematic")


@pytest.mark.parametrize(
    ("domain", "pack"),
    [
        ("general instructions", "general-instructions"),
        ("Grade-school word problems with worked solutions", "mathematics"),
        ("solving equations", "mathematics"),
        ("Python functions with tests", "code"),
        ("Clinical questions answered from PubMed abstracts", "medical"),
        ("what patients ask their doctor", "medical"),
        ("Customers' opinions of hotels", "reviews"),
        ("MOVIE REVIEWS", "reviews"),
    ],
)
def test_the_nearest_pack_is_found(domain, pack):
    found = nearest_pack(domain)
    assert found.name == pack
    assert 0 < found.score <= 1
    assert found.why.startswith("shared words: ")


@pytest.mark.parametrize("domain", ["", "the of and", "数学", "medieval tapestry"])
def test_a_domain_that_no_pack_speaks_of_gets_the_general_pack_and_is_told(domain):
    assert nearest_pack(domain) == ("general-instructions", 0.0, "no pack speaks of this domain, so the general one")


def test_words_that_look_like_other_types_stay_words(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - name: no\n    text: yes\n  - name: 1.0\n    text: 2024-01-01\n    sql: 1\n    anchors: ~\n"
    )
    rules = load_rules(str(path)).rules
    assert [(r.name, r.text, r.sql, r.anchors) for r in rules] == [
        ("no", "yes", None, None),
        ("1.0", "2024-01-01", "1", None),
    ]


def test_every_mistake_is_named_on_one_line(tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(
        "rules:\n  - name: a\n    txt: b\n  - name: c\n    text: d\n    polarity: up\n  - just text\norigin: [x]\n"
    )
    with pytest.raises(UsageError) as error:
        load_rules(str(path))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    for part in ("rule 1 (a) text: missing", "rule 1 (a) txt: unknown field", "rule 2 (c) polarity: Input should be",
                 "rule 3: expected fields", "origin: expected text"):  # fmt: skip
        assert part in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected `rules:`"),
        ("hello", "expected `rules:`"),
        ("rules: []", "rules: "),
        ("rules:\n  - name: a\n    text: b: c\n", ":3: mapping values.*in quotes"),
        ("rules:\n  - {name: a, text: b}\n  - {name: a, text: c}\n", "rules 1, 2 have the same name"),
        ("rules:\n  - {name: a, text: b}\n  - {name: c, text: b}\n", "rules 1, 2 have the same content"),
        ("rules:\n  - {name: a, text: b, text: c}\n", ":2: rules.0: .text. appears twice"),
        ("rules: &a\n  - *a\n", ":2: rules.0: aliases"),
        ("rules: !!python/object/apply:os.system ['true']\n", ":1: rules: tags .* are not allowed"),
        ("rules: {", r":\d+: "),
        ("[" * 5000, "nested too deeply"),
        ("a: \x07", "characters are not allowed"),
        ("rules:\n  - {name: null, text: b}\n", "rule 1 name: expected text"),
    ],
)
@pytest.mark.slow
def test_a_malformed_file_is_one_clear_line(tmp_path, content, message):
    path = tmp_path / "rules.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as error:
        load_rules(str(path))
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_a_file_that_cannot_be_read_is_one_clear_line(tmp_path):
    with pytest.raises(UsageError, match=r"none\.yaml: cannot be read: No such file"):
        load_rules(str(tmp_path / "none.yaml"))
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_rules(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"rules: \xe9")
    with pytest.raises(UsageError, match="not UTF-8 at byte 7"):
        load_rules(str(tmp_path / "latin.yaml"))
    (tmp_path / "big.yaml").write_bytes(b"#" * 4_000_001)
    with pytest.raises(UsageError, match="larger than 4,000,000 bytes"):
        load_rules(str(tmp_path / "big.yaml"))


def test_a_bare_list_of_rules_is_a_rule_file(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("- {name: a, text: b}\n")
    rules = load_rules(str(path))
    assert (rules.origin, [r.name for r in rules.rules]) == ("mine.yaml", ["a"])


words = st.text(min_size=1).filter(lambda s: s.strip() and not any("\ud800" <= c <= "\udfff" for c in s))
names = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=64)
some_rules = st.builds(
    Rule,
    name=names,
    text=words,
    polarity=st.sampled_from(["positive", "negative"]),
    anchors=st.none() | st.builds(Anchors, low=words, high=words),
    sql=st.none() | words,
)


@settings(max_examples=150, deadline=None)
@given(st.lists(some_rules, min_size=1, max_size=3, unique_by=(lambda r: r.name, lambda r: r.id)), words, words)
@pytest.mark.slow
def test_what_is_saved_is_what_is_loaded(tmp_path_factory, rules, origin, domain):
    path = tmp_path_factory.mktemp("rules") / "rules.yaml"
    saved = RuleSet(origin=origin, domain=domain, rules=tuple(rules))
    save_rules(path, saved)
    assert load_rules(str(path)) == saved


@pytest.mark.parametrize("name", PACKS)
def test_a_saved_pack_keeps_its_identity_and_its_expressions_stay_readable(tmp_path, name):
    pack = load_rules(f"pack:{name}")
    save_rules(tmp_path / "copy.yaml", pack)
    assert load_rules(str(tmp_path / "copy.yaml")) == pack
    assert "sql: |" in (tmp_path / "copy.yaml").read_text(encoding="utf-8")


def test_saving_where_one_cannot_is_one_clear_line_and_leaves_nothing(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(UsageError, match="taken: cannot be written"):
        save_rules(tmp_path / "taken", load_rules("pack:code"))
    assert [p.name for p in tmp_path.iterdir()] == ["taken"]


def test_packs_are_found_in_the_checkout():
    assert folder().name == "rules"
    assert {p.stem for p in folder().glob("*.yaml")} == set(PACKS)
