"""YAML of others: plain values or one line with file, line and key, at once."""

import pytest

from rulesel import config
from rulesel.cli._options import parameters
from rulesel.errors import UsageError
from rulesel.judges.rubric import load_rubric
from rulesel.rules.packs import load_rules
from rulesel.yaml_file import load_texts, load_values

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(24)
)
REFUSED = {
    BOMB: ":2: b.0: aliases",
    "a: &x 1\nb: *x\n": ":2: b: aliases",
    "? *x\n: 1\n": "aliases",
    "base: {<<: {a: 1}}": ":1: base: merge keys",
    "a: !!python/name:os.system ''": ":1: a: tags",
    "a: !!binary aGk=": ":1: a: tags",
    "a: !!set {x, y}": ":1: a: tags",
    "a: !mine x": ":1: a: tags",
    "!!str a: 1": ":1: tags",
    "a: 1\na: 2\n": ":2: 'a' appears twice",
    "s: {k: 1, 'k': 2}": ":1: s: 'k' appears twice",
    "? [1, 2]\n: 3\n": ":1: a list or mapping is no key",
    "? {a: b}\n: 3\n": ":1: a list or mapping is no key",
    "k: " + "[" * 100 + "]" * 100: ": nested too deeply",
    "k: " + "[" * 100_000: ":1: (k: )?nested too deeply",
    "{a: " * 5000: "nested too deeply",
    "- " * 5000 + "x": "nested too deeply",
    "a: 1\n---\nb: 2\n": ":2: one document",
    'a: "\\ud800"': "invalid Unicode|U.D800",
    '"k\\0": 1': ":1: a key: the character U.0000",
    "a: {": "did not find expected|expected",
    "a: b: c": "mapping values.*in quotes",
    "a: \x07": "characters are not allowed",
    "%YAML 9.9\n---\na: 1": "incompatible",
}


@pytest.mark.parametrize("read", [load_values, load_texts])
@pytest.mark.parametrize("content", REFUSED, ids=lambda text: ascii(text[:30]))
def test_what_is_no_plain_value_is_one_line(tmp_path, content, read):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=REFUSED[content]) as refused:
        read(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, ".inf", "-.INF", ".NaN", "1e999", "9" * 19])
def test_numbers_that_no_setting_takes_are_refused(tmp_path, number):
    path = tmp_path / "x.yaml"
    path.write_text(f"select:\n  threshold: {number}\n")
    with pytest.raises(UsageError, match=r"x\.yaml:2: select\.threshold: ") as refused:
        load_values(path)
    assert len(str(refused.value)) < 300
    assert load_texts(path).value == {"select": {"threshold": number}}


def test_values_are_what_they_look_like_and_lines_are_known(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(
        "a: 1\nb: -2.5\nc: 1e-3\nd: yes\ne: 'no'\nf: ~\ng:\nh: 2024-01-01\ni: 12:30\nj: 017\nyes: [1, x]\nk: 1_000\nl: 0x1F\n"
    )
    loaded = load_values(path)
    assert loaded.value == {
        "a": 1, "b": -2.5, "c": 1e-3, "d": True, "e": "no", "f": None, "g": None, "h": "2024-01-01", "i": "12:30", "j": "017",
        "yes": [1, "x"], "k": "1_000", "l": "0x1F",
    }  # fmt: skip
    assert loaded.lines["yes", 1] == 11
    assert load_texts(path).value["a"] == "1"


def test_no_value_holds_what_no_path_can_hold(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text('a: "x\\0y"')
    with pytest.raises(UsageError, match=r":1: a: the character U.0000 is not allowed"):
        load_values(path)
    assert load_texts(path).value == {"a": "x\0y"}


def test_an_empty_file_is_nothing(tmp_path):
    (tmp_path / "x.yaml").write_text("# nothing\n")
    assert load_values(tmp_path / "x.yaml").value is None


def test_what_is_no_file_of_settings_is_not_read(tmp_path):
    import os

    os.mkfifo(tmp_path / "fifo.yaml")
    (tmp_path / "big.yaml").write_bytes(b"#" * 4_000_001)
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    for name, why in {
        "fifo.yaml": "no regular file",
        "big.yaml": "larger than",
        "latin.yaml": "not UTF-8",
        "none.yaml": "No such file",
        "": "Is a directory",
    }.items():
        with pytest.raises(UsageError, match=why):
            load_values(tmp_path / name)


@pytest.mark.parametrize("content", [BOMB, "a: !!set {x}", "? [1]\n: 2", "a: 1\na: 2"])
def test_every_reader_of_yaml_refuses_the_same(tmp_path, content):
    path = tmp_path / "x.yaml"
    path.write_text(content)
    for read in (lambda: config.load(path), lambda: load_rules(str(path)), lambda: load_rubric(str(path))):
        with pytest.raises(UsageError, match=r"x\.yaml:\d+: "):
            read()


@pytest.mark.parametrize("value", ["[[[" * 20, "*x", "!!set {a}", "9" * 5000, ".nan", "{a: 1, a: 2}", '"\\0"'])
def test_a_value_of_the_command_line_is_read_with_the_same_bounds(value):
    with pytest.raises(UsageError, match="--param tau"):
        parameters([f"tau={value}"])


def test_values_of_the_command_line():
    assert parameters(["a=1", "b=yes", "c=[1, x]", "d=", "e=1e-3"]) == {
        "a": 1,
        "b": True,
        "c": [1, "x"],
        "d": None,
        "e": 1e-3,
    }


@pytest.mark.parametrize("content", ["corpus: [1, 2]", "rules: x", "select: 3", "corpus: {path: [a]}", "seed: {a: 1}"])
def test_a_section_that_is_none_is_one_line(tmp_path, content):
    (tmp_path / "c.yaml").write_text(content + "\n")
    base = config.load(tmp_path / "c.yaml")
    over = {"corpus": {"limit": 1}, "rules": {"keep": 2}, "select": {"k": 1}, "out": "o"}
    with pytest.raises(UsageError):
        config.check(config.RunConfig, config.merged(base, over))


def test_mistakes_name_their_line_and_are_not_endless(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + "".join(f"  - name: a{i}\n    txt: b\n" for i in range(300)))
    with pytest.raises(UsageError) as refused:
        load_rules(str(path))
    assert "rule 1 (a0) txt: unknown field (line 3)" in str(refused.value)
    assert "more" in str(refused.value)
    assert len(str(refused.value)) < 1000


@pytest.mark.slow
def test_more_rules_than_can_be_compared_are_refused_at_once(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text("rules:\n" + "".join(f"- {{name: a{i}, text: t{i}}}\n" for i in range(1001)))
    with pytest.raises(UsageError, match="1000"):
        load_rules(str(path))
    path.write_text("rules:\n" + "".join(f"- {{name: a{i}, text: t{i}}}\n" for i in range(60_000)))
    with pytest.raises(UsageError, match=r"at most 1000|more than 200,000 values"):
        load_rules(str(path))


@pytest.mark.slow
def test_more_values_than_settings_have_are_refused(tmp_path):
    (tmp_path / "x.yaml").write_text("a: [" + "1, " * 250_000 + "]")
    with pytest.raises(UsageError, match=":1: a: more than 200,000 values"):
        load_values(tmp_path / "x.yaml")
