"""What outsiders may rely on."""

import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest

import rulesel
from rulesel import errors
from rulesel.errors import RuleselError
from rulesel.plugins import find, names
from rulesel.raters import Rater
from rulesel.selection import Selector

ROOT = Path(__file__).parents[1]


def test_public_names_are_sorted_and_all_resolve():
    assert rulesel.__all__ == sorted(rulesel.__all__, key=lambda name: (name[0].islower(), name))
    for name in rulesel.__all__:
        assert getattr(rulesel, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rulesel.nothing


def test_every_error_has_one_of_the_promised_exit_codes():
    found = [e for e in vars(errors).values() if isinstance(e, type) and issubclass(e, RuleselError)]
    assert {e.exit_code for e in found} == {1, 2, 3, 4, 130}
    for error in found:
        assert error.__name__ in errors.__doc__ or error is RuleselError


@pytest.mark.parametrize(("package", "base"), [("rulesel.selection", Selector), ("rulesel.raters", Rater)])
def test_every_plug_in_is_found_by_its_file_name(package, base):
    assert names(package)
    for name in names(package):
        assert find(package, name, base).name == name


def test_no_file_of_the_project_names_a_machine():
    pattern = re.compile(r"/(home|Users|root|work|mnt|scratch)/")
    files = [p for d in ("rulesel", "prompts", "data", "evals", "tests") for p in (ROOT / d).rglob("*") if p.is_file()]
    files += [ROOT / name for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml")]
    for path in files:
        if (
            path.suffix in {".py", ".md", ".yaml", ".toml", ".j2", ".json", ".jsonl", ""}
            and path.name != "test_public_api.py"
        ):
            assert not pattern.search(path.read_text(encoding="utf-8", errors="ignore")), path


def test_every_module_says_why_it_exists():
    for module in pkgutil.walk_packages(rulesel.__path__, "rulesel."):
        if module.name in {"rulesel.__main__"}:
            continue
        spec = importlib.util.find_spec(module.name)
        source = Path(spec.origin).read_text(encoding="utf-8")
        assert source.startswith(('"""', 'r"""')) or source == "", module.name
