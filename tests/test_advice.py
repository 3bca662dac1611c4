"""Commands that messages, docstrings and the README advise: each is one that the command line takes."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from rulesel.cli import with_verbs

ROOT = Path(__file__).parents[1]
APP = get_command(with_verbs())


def texts(tree):
    """String literals as a reader sees them; what is filled in at run time is X."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def advised():
    found = set()
    for path in sorted((ROOT / "rulesel").rglob("*.py")):
        for text in texts(ast.parse(path.read_text())):
            quoted = re.findall(r"`(rulesel [^`]+)`", text) + re.findall(r"(?:: |then: )(rulesel [a-z][^`]*)", text)
            found.update((path.name, " ".join(line.split())) for line in quoted)
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            found.update(("README.md", command.strip()) for command in re.findall(r"rulesel [^;#&|]+", line))
    return sorted(found)


def parsed(line):
    """The verb's command and the words after it.

    Raises:
        LookupError: there is no such verb.
    """
    group, words = APP, line.split()[1:]
    while hasattr(group, "commands"):
        if not words or words[0].startswith("-"):
            return group, words
        if words[0] not in group.commands:
            if group is APP or group.name != "judge":
                raise LookupError(words[0])
            return group.commands["grade"], words
        group, words = group.commands[words[0]], words[1:]
    return group, words


ADVISED = advised()


def test_there_are_some_to_check():
    assert len(ADVISED) > 40


@pytest.mark.parametrize(("place", "line"), ADVISED)
def test_what_is_advised_is_a_verb_with_these_options(place, line):
    command, words = parsed(line)
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"-h", "--help"}
    for word in words:
        if re.fullmatch(r"--?[a-z][a-z-]*", word):
            assert word in known, f"{place}: `{line}` advises {word}"
