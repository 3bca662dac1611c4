"""The command line: helpful, quick to start, and honest in its exit codes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from rulesel.cli import with_verbs

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[1] / "README.md").read_text()
HEAVY = ("openai", "litellm", "dppy", "duckdb", "scipy", "torch", "pyarrow", "matplotlib")


def verbs(group, *before):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from verbs(command, *before, name)
        else:
            yield " ".join([*before, name]).removesuffix(" grade")  # `judge CORPUS` is written for `judge grade CORPUS`


VERBS = sorted(verbs(get_command(with_verbs())))


def test_the_verbs_are_found():
    assert {"run", "select", "judge", "judge check", "rules audit", "import embedding"} <= set(VERBS)
    assert "rules" not in VERBS


def rulesel(*words, cwd=None, stdin=None):
    return subprocess.run(
        [sys.executable, "-m", "rulesel", *map(str, words)],
        capture_output=True,
        text=True,
        cwd=cwd,
        input=stdin,
        check=False,
    )


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_and_stands_in_the_readme(verb):
    done = rulesel(*verb.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert verb in README


@pytest.mark.parametrize("verb", ["plan", "score", "rules rate"])
def test_the_verbs_around_a_run_take_its_options(verb, corpus, tmp_path):
    common = ("--domain", "general instructions", "-r", 3, "--sample", 50, "--limit", 60, "--seed", 1, "--max-cost", 1)
    store = tmp_path / "s.duckdb"
    done = rulesel(*verb.split(), corpus, *common, "--store", store, "--duplicates", "keep-all", "--yes")
    assert done.returncode == 0, done.stderr
    done = rulesel("run", corpus, *common, "--store", store, "-k", 5, "-o", tmp_path / "o.jsonl")
    assert done.stdout.splitlines()[-1] == "in 60 = selected 5 + not selected 55 + failed 0"


@pytest.mark.parametrize(
    "code", ["import rulesel", "from rulesel.cli import app, main", "import rulesel; dir(rulesel)"]
)
def test_importing_loads_nothing_heavy(code):
    probe = f"{code}; import sys; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_loads_nothing_heavy():
    probe = (
        "import sys; sys.argv = ['rulesel', '--help']\nfrom rulesel.cli import main\n"
        f"try:\n    main()\nfinally:\n    sys.stderr.write(str([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("[]")


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "c.jsonl"
    rows = [{"instruction": f"Say {i} things.", "output": "one two three. " * (i % 9 + 1)} for i in range(120)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_prints_its_mapping_and_ends_with_the_account(corpus, tmp_path):
    done = rulesel("run", corpus, "--domain", "general instructions", "-k", 10, "-r", 3, "-o", tmp_path / "o.jsonl")
    assert done.returncode == 0, done.stderr
    assert "mapping: prompt = instruction" in done.stderr
    assert "pack:general-instructions, the nearest" in done.stderr
    assert done.stdout.splitlines()[-1].startswith("in 120 = selected 10 + not selected 110 + failed 0")
    progress = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    assert {p["stage"] for p in progress} >= {"rate sample", "rate corpus"}
    store = tmp_path / "c.jsonl.duckdb"
    assert rulesel("verify", tmp_path / "o.jsonl.receipt.json").stdout.splitlines()[-1] == "verified"
    rows = json.loads(
        rulesel("sql", "SELECT rank, key FROM selection_view ORDER BY rank", "--store", store, "--json").stdout
    )
    assert [row["rank"] for row in rows] == list(range(1, 11))
    assert "rank 1 of 10" in rulesel("explain", pick_row(store), "--store", store).stdout
    assert json.loads(rulesel("runs", "--store", store, "--json").stdout)[0]["outcome"] == "done"
    tampered = (tmp_path / "o.jsonl").read_text().replace("one", "two", 1)
    (tmp_path / "o.jsonl").write_text(tampered)
    assert rulesel("verify", tmp_path / "o.jsonl.receipt.json").returncode == 1


def pick_row(store):
    return json.loads(
        rulesel("sql", "SELECT row FROM selection_view WHERE rank = 1", "--store", store, "--json").stdout
    )[0]["row"]


def test_score_then_select_is_the_same_as_run(corpus, tmp_path):
    common = ("--domain", "general instructions", "-r", 3, "--store", tmp_path / "s.duckdb")
    assert "120 of 120 examples scored" in rulesel("score", corpus, *common).stdout
    assert rulesel("select", "--store", tmp_path / "s.duckdb", "-k", 10, "-o", tmp_path / "a.jsonl").returncode == 0
    assert rulesel("run", corpus, *common, "-k", 10, "-o", tmp_path / "b.jsonl").returncode == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-k", 5], "out"),
        (["-k", 5, "-o", "o.jsonl"], "--domain"),
        (["-o", "o.jsonl", "--domain", "x"], "how much to pick"),
        (["-k", 5, "-o", "o.jsonl", "--domain", "x", "--method", "topk"], "Did you mean 'top_k'"),
        (["-k", 5, "-o", "o.jsonl", "--domain", "x", "--method", "gumbel", "--param", "tau=-1"], "tau"),
        (["-k", 5, "-o", "o.jsonl", "--domain", "x", "--per", "source"], "FIELD=N"),
        (["-k", 5, "--fraction", 0.1, "-o", "o.jsonl", "--domain", "x"], "not both"),
        (["-k", 5, "-o", "o.csv", "--domain", "x"], "Name it o.jsonl"),
        (["-k", 5, "-o", "o.jsonl", "--rules", "pack:nope"], "No rule pack named 'nope'"),
        (["-k", 5, "-o", "o.jsonl", "--domain", "x", "--prompt-field", "instructon"], "Did you mean 'instruction'"),
    ],
)
def test_wrong_usage_is_one_line_exit_2_and_leaves_nothing(corpus, tmp_path, words, message):
    before = sorted(tmp_path.iterdir())
    done = rulesel("run", corpus, *words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(tmp_path.iterdir()) == before


def test_init_writes_a_configuration_that_runs(corpus, tmp_path):
    assert rulesel("init", cwd=tmp_path).returncode == 0
    assert rulesel("init", cwd=tmp_path).returncode == 2
    text = (tmp_path / "rulesel.yaml").read_text().replace("path: corpus.jsonl", "path: c.jsonl")
    (tmp_path / "rulesel.yaml").write_text(text)
    done = rulesel("run", "rulesel.yaml", "-k", 7, "-r", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "selected.jsonl").read_text().splitlines()) == 7


def test_a_configuration_with_unknown_names_lists_them_all(tmp_path):
    (tmp_path / "r.yaml").write_text("corpus: {path: x, colour: red}\nselect: {k: 0}\nout: o\nspeed: 1\n")
    done = rulesel("run", tmp_path / "r.yaml")
    assert done.returncode == 2
    for word in ("corpus.colour", "select.k", "speed"):
        assert word in done.stderr


def test_standard_input_is_a_corpus(corpus, tmp_path):
    words = (
        "run",
        "-",
        "--domain",
        "general instructions",
        "-k",
        5,
        "-r",
        3,
        "-o",
        tmp_path / "o.jsonl",
        "--store",
        tmp_path / "s.duckdb",
    )
    done = rulesel(*words, stdin=corpus.read_text())
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 5


def test_imported_ratings_can_be_chosen_from_without_a_corpus(tmp_path):
    import random

    rng = random.Random(0)
    with (tmp_path / "r.csv").open("w") as file:
        file.write("id,clear,true,long,label\n")
        for i in range(200):
            good = rng.random()
            marks = [round(10 * min(1, max(0, good + rng.gauss(0, s)))) for s in (0.1, 0.2, 0.4)]
            file.write(f"x{i},{','.join(map(str, marks))},{int(good > 0.5)}\n")
    store = tmp_path / "s.duckdb"
    done = rulesel("import", "ratings", tmp_path / "r.csv", "--store", store, "--anchor", "label")
    assert done.returncode == 0, done.stderr
    assert "200 examples × 3 rules (clear, true, long; scale 0 to 10" in done.stdout
    found = json.loads(rulesel("rules", "choose", "--store", store, "-r", 2, "--gold", "label", "--json").stdout)
    assert len(found["chosen"]) == 2
    assert {"clear", "true"} == {rule["name"] for rule in found["chosen"]}
    assert rulesel("rules", "choose", "--store", store, "--judge", "nobody").returncode == 2


def test_imported_columns_and_vectors_follow_their_ids(corpus, tmp_path):
    import numpy as np

    store = tmp_path / "s.duckdb"
    assert rulesel("score", corpus, "--domain", "general instructions", "-r", 3, "--store", store).returncode == 0
    with (tmp_path / "grades.jsonl").open("w") as file:
        for i in range(100):
            file.write(json.dumps({"id": i, "grade": i}) + "\n")
    done = rulesel("import", "column", tmp_path / "grades.jsonl", "--column", "grade", "--store", store)
    assert done.returncode == 0, done.stderr
    assert (
        rulesel("select", "--store", store, "--quality", "grade", "-k", 3, "-o", tmp_path / "g.jsonl").returncode == 0
    )
    picked = [json.loads(line)["instruction"] for line in (tmp_path / "g.jsonl").read_text().splitlines()]
    assert picked == ["Say 99 things.", "Say 98 things.", "Say 97 things."]
    np.save(tmp_path / "e.npy", np.ones((120, 4), dtype=np.float32))
    done = rulesel("import", "embedding", tmp_path / "e.npy", "--store", store)
    assert "120 examples (4 dimensions" in done.stdout, done.stderr


def test_the_catalog_and_the_doctor_answer(tmp_path):
    found = json.loads(rulesel("catalog", "--json").stdout)
    assert {"top_k", "gumbel", "random", "longest"} <= {s["name"] for s in found["selectors"]}
    assert len(found["packs"]) == 5
    done = rulesel("doctor", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "duckdb" in done.stdout


def test_the_demo_tells_what_it_kept(tmp_path):
    done = rulesel("demo", "-o", tmp_path / "d")
    assert done.returncode == 0, done.stderr
    assert "Planted flaws among 80 picks of 240" in done.stdout
    form = next(line for line in done.stdout.splitlines() if line.startswith("flaws of form")).split()
    planted, ours, at_random, longest = map(int, form[-4:])
    assert ours < min(at_random, longest)
    assert planted > 0
    assert rulesel("verify", tmp_path / "d" / "selected.jsonl.receipt.json").returncode == 0
    assert str(tmp_path / "d" / "report.html") in done.stdout
    page = (tmp_path / "d" / "report.html").read_text()
    assert all(word in page for word in ("Report of a selection", "Known flaws", "unsafe advice", "Every rule"))


def test_a_parameter_that_is_text_keeps_its_blanks_and_colons():
    from rulesel.cli._options import parameters

    given = ["start=Rating: ", "a=Score:", 'b=""', 'c=["Mark: ", "x"]', "d=2", "e={k: 1}", "f=The rating is ", "g=null"]
    assert parameters(given) == {
        "start": "Rating: ",
        "a": "Score:",
        "b": "",
        "c": ["Mark: ", "x"],
        "d": 2,
        "e": {"k": 1},
        "f": "The rating is ",
        "g": None,
    }
