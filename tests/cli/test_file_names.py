"""The names of outputs."""

from pathlib import Path

import pytest
from typer.main import get_command

from rulesel.cli import with_verbs
from rulesel.corpus import check_output
from rulesel.errors import UsageError


def outputs(group, *before):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from outputs(command, *before, name)
        else:
            yield from ((" ".join([*before, name]), option) for option in command.params if "-o" in option.opts)


def test_no_verb_writes_a_file_that_is_called_like_standard_output():
    found = dict(outputs(get_command(with_verbs())))
    assert {"run", "select", "export", "report", "rules generate"} <= set(found)
    for option in found.values():
        with pytest.raises(UsageError, match="-o -: an output needs a name"):
            option.process_value(None, "-")


def test_nor_does_a_configuration():
    with pytest.raises(UsageError, match="-o -: a selection is several files"):
        check_output(Path("-"), "jsonl")
