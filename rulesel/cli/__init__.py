"""The command line: parse, call one function of the library, print. First-party imports are inside the commands."""

from __future__ import annotations

import re
import sys
from functools import cache
from typing import Annotated

import typer

from rulesel.cli._output import complain, echo, prepare, show_fault
from rulesel.errors import RuleselError, UsageError

_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

app = typer.Typer(
    name="rulesel",
    help="Choose the examples a language model is fine-tuned on, and say why.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:  # noqa: FBT001 - as typer calls it
    if wanted:
        from rulesel import __version__

        echo(f"rulesel {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the `rulesel` command; turns errors into one line and an exit code."""
    prepare()
    try:
        _check_text(sys.argv[1:])
        with_verbs()(standalone_mode=True)
    except RuleselError as error:
        complain(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()  # noqa: TID251
        sys.exit(0)
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}." if error.filename and error.strerror else f"{error}.")
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort
        show_fault(error)
        sys.exit(1)


def _check_text(words: list[str]) -> None:
    """Refuse what is no text: bytes that are no UTF-8 (lone surrogates by now), and controls that a terminal obeys."""
    for word in words:
        if _NO_TEXT.search(word):
            raise UsageError(f"{word!r} is no text: rename the file, or write it in UTF-8 without control characters.")


@cache
def with_verbs() -> typer.Typer:
    """The app with every verb added."""
    from rulesel.cli.catalog import register as add_catalog
    from rulesel.cli.compare import register as add_compare
    from rulesel.cli.judging import register as add_judging
    from rulesel.cli.reports import register as add_reports
    from rulesel.cli.rules import register as add_rules
    from rulesel.cli.runs import register as add_runs
    from rulesel.cli.stored import register as add_stored

    for add in (add_runs, add_rules, add_judging, add_stored, add_catalog, add_reports, add_compare):
        add(app)
    return app
