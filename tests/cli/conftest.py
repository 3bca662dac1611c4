"""The command line, called in this process."""

import sys
from typing import NamedTuple

import pytest

from rulesel import cli


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def rulesel(monkeypatch, capsys):
    """`rulesel("sql", …)`: exit code and what was printed."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["rulesel", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        code = ended.value.code
        return Ended(0 if code is None else code, *capsys.readouterr())

    return call
