"""Options that several commands take, and the configuration they stand for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

Opt = typer.Option

RULES, MONEY, READING = "Rules and raters", "Money and pace", "Reading the corpus"

CorpusArgument = Annotated[
    str, typer.Argument(help="Corpus (JSONL, CSV, Parquet, dataset directory, '-') or a rulesel.yaml.")
]
JudgeParam = Annotated[
    list[str] | None,
    Opt(metavar="NAME=VALUE", help="Parameter of the rater, such as dtype=float32.", rich_help_panel=RULES),
]
Rules = Annotated[str | None, Opt(help="Rules: a YAML file or pack:NAME.", rich_help_panel=RULES)]
StoreName = Annotated[str | None, Opt(help="The store; <corpus>.duckdb if not named.")]
Seed = Annotated[int | None, Opt(help="Names every draw.")]
AsJson = Annotated[bool, Opt("--json", help="JSON for machines.")]


def said(kind: Any, *names: str, panel: str, **how: Any) -> Any:  # noqa: ANN401 - typer's own annotations
    """An option that is None where nothing was said."""
    return Annotated[kind | None, Opt(*names, rich_help_panel=panel, **how)]


SCORING: dict[str, Any] = {
    "domain": said(str, panel=RULES, help="What the examples are for, in a sentence."),
    "judge": said(
        str,
        panel=RULES,
        help="Who rates: signals, or a model (openai/…, http://host:port/v1#model, vllm:FOLDER-OR-ID, …).",
    ),
    "judge_param": JudgeParam,
    "sample_judge": said(str, panel=RULES, help="Who rates the sample, if somebody else."),
    "writer": said(str, panel=RULES, help="The model that writes the rules; without one a pack is used."),
    "rules": Rules,
    "count": said(int, panel=RULES, help="Rules the writer is asked for."),
    "sample": said(int, panel=RULES, help="Examples rated on every rule, to choose rules by."),
    "anchor": said(
        str,
        panel=RULES,
        help="Column that says how good sampled examples are; 'overall' has the judge grade them, 'none'.",
    ),
    "retest": said(
        int, panel=RULES, help="Examples of the sample rated again in other words, to see what is reliable."
    ),
    "measure": said(
        bool,
        "--measure/--no-measure",
        panel=RULES,
        help="Compute a rule on the corpus where its expression agrees with the judge.",
    ),
    "keep": said(str, "-r", "--keep", panel=RULES, help="Rules to keep, or 'auto'."),
    "coverage": said(float, panel=RULES, help="Least share of the rules that must be rated."),
    "engine": said(str, panel=RULES, help="Where vllm:… and signals run: local, or ray."),
    "actors": said(int, panel=RULES, help="Ray actors at a time; as many as the cluster has room for."),
    "store": StoreName,
    "seed": Seed,
}
"""How a corpus gets its scores."""

SPENDING: dict[str, Any] = {
    "max_failed": said(float, panel=MONEY, help="Largest share of ratings that may fail."),
    "max_cost": said(float, panel=MONEY, help="Most dollars of the run, earlier attempts included."),
    "max_requests": said(int, panel=MONEY, help="Most requests of the run, earlier attempts included."),
    "concurrency": said(int, panel=MONEY, help="Most requests at once (64)."),
    "rpm": said(float, panel=MONEY, help="Requests a minute the provider allows."),
    "tpm": said(float, panel=MONEY, help="Tokens a minute the provider allows."),
    "timeout": said(float, panel=MONEY, help="Seconds to wait for an answer (120)."),
    "yes": said(bool, "--yes", "-y", panel=MONEY, help="Do not ask before spending."),
}
"""What it may cost."""

FIELDS: dict[str, Any] = {
    "prompt_field": said(str, panel=READING, help="Field of the prompt."),
    "response_field": said(str, panel=READING, help="Field of the response."),
    "text_field": said(str, panel=READING, help="Field of plain text."),
    "limit": said(int, panel=READING, help="Read at most this many examples."),
}
"""What is read of a corpus."""

CHAIN = SCORING | {"duplicates": said(str, panel=READING, help="keep-first or keep-all.")} | FIELDS | SPENDING
"""Everything that `run`, `plan`, `score` and `rules rate` have in common: any of them can take another's command line."""

Command = Callable[..., None]


def taking(options: Mapping[str, Any]) -> Callable[[Command], Command]:
    """Give a command options beside its own; what was said of them arrives as keyword arguments.

    Args:
        options: name -> typer annotation.
    """

    def decorate(command: Command) -> Command:
        own = signature(command, eval_str=True).parameters.values()
        mine = [one for one in own if one.kind is not Parameter.VAR_KEYWORD]
        more = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in options.items()
        ]
        command.__signature__ = Signature([*mine, *more])  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in (*mine, *more)}
        return command

    return decorate


def base_of(corpus: str) -> dict[str, Any]:
    """The configuration a command line starts from: a file's, or that of a bare corpus."""
    from rulesel import config as configs

    if Path(corpus).suffix in {".yaml", ".yml"}:
        return configs.load(Path(corpus))
    return {"corpus": {"path": corpus}}


def scoring(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a score configuration from a command's own arguments; None where nothing was said."""
    same = ("duplicates", "domain", "judge", "sample_judge", "coverage", "seed", "store", "engine", "actors")
    return {
        "corpus": {name: given.get(name) for name in FIELDS},
        "rules": {
            "source": given.get("rules"),
            "keep": kept(given.get("keep")),
            **{name: given.get(name) for name in ("writer", "count", "sample", "retest", "anchor", "measure")},
        },
        **{name: given.get(name) for name in same},
        "judge_parameters": parameters(given.get("judge_param"), "--judge-param"),
        **spending(given),
    }


def score_config(corpus: str, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 - config.ScoreConfig, imported late
    """The configuration of `score` and `plan`; what a file says of the selection is left out."""
    from rulesel import config as configs

    values = configs.merged(base_of(corpus), scoring(given))
    own = set(configs.RunConfig.model_fields) - set(configs.ScoreConfig.model_fields) | {"as"}
    return configs.check(configs.ScoreConfig, {name: value for name, value in values.items() if name not in own})


def spending(given: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of money and pace from a command's own arguments."""
    return {name: given.get(name) for name in SPENDING}


def kept(given: str | None) -> int | str | None:
    """-r as a number, or the word."""
    return int(given) if given and given.isdigit() else given


def parameters(given: list[str] | None, option: str = "--param") -> dict[str, Any]:
    """NAME=VALUE options as values: numbers, true/false, null, lists and {…} as YAML reads them.

    Other text stays as it is, blanks and colons included.
    """
    from rulesel.errors import UsageError
    from rulesel.yaml_file import value_of

    found: dict[str, Any] = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise UsageError(f"{option} takes NAME=VALUE, got {one!r}.")
        read = value_of(value, f"{option} {name}")
        plain = isinstance(read, str) and value.lstrip()[:1] not in {'"', "'"}
        found[name] = value if plain or (isinstance(read, dict) and not value.lstrip().startswith("{")) else read
    return found


def quota(given: str | None) -> dict[str, int] | None:
    """FIELD=N as a mapping."""
    from rulesel.errors import UsageError

    if given is None:
        return None
    field, _, n = given.rpartition("=")
    if not field or not n.isdigit():
        raise UsageError(f"--per takes FIELD=N, got {given!r}.")
    return {field: int(n)}


def file_name(given: Any) -> Any:  # noqa: ANN401 - a text or a path, as typer read it
    """Refuse "-" as the name of an output: what is printed for people goes to standard output.

    Raises:
        UsageError: it is that.
    """
    from rulesel.errors import UsageError

    if str(given) == "-":
        raise UsageError("-o -: an output needs a name; standard output is for messages. Give a file: -o NAME")
    return given
