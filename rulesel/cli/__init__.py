"""The command line: parse, call one function of the library, print. First-party imports are inside the commands."""

from __future__ import annotations

import sys

import typer

from rulesel.errors import RuleselError

app = typer.Typer(
    name="rulesel",
    help="Choose the examples a language model is fine-tuned on, and say why.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Entry point of the `rulesel` command; turns errors into one line and an exit code."""
    from rulesel.cli.catalog import register as add_catalog
    from rulesel.cli.compare import register as add_compare
    from rulesel.cli.judging import register as add_judging
    from rulesel.cli.reports import register as add_reports
    from rulesel.cli.rules import register as add_rules
    from rulesel.cli.runs import register as add_runs
    from rulesel.cli.stored import register as add_stored

    for add in (add_runs, add_rules, add_judging, add_stored, add_catalog, add_reports, add_compare):
        add(app)
    try:
        app(standalone_mode=True)
    except RuleselError as error:
        sys.stderr.write(f"rulesel: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("rulesel: interrupted; the same command goes on from here\n")
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
