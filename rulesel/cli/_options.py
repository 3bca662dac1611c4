"""Options that several commands take, and the configuration they stand for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Opt = typer.Option

CorpusArgument = Annotated[
    str, typer.Argument(help="Corpus (JSONL, CSV, Parquet, dataset directory, '-') or a rulesel.yaml.")
]
Domain = Annotated[str | None, Opt(help="What the examples are for, in a sentence.")]
JudgeModel = Annotated[
    str | None, Opt(help="Who rates: signals, or a model (openai/…, http://host:port/v1#model, vllm:FOLDER-OR-ID, …).")
]
JudgeParam = Annotated[
    list[str] | None, Opt(metavar="NAME=VALUE", help="Parameter of the rater, such as dtype=float32.")
]
Engine = Annotated[str | None, Opt(help="Where vllm:… and signals run: local, or ray.")]
Actors = Annotated[int | None, Opt(help="Ray actors at a time; as many as the cluster has room for.")]
SampleJudge = Annotated[str | None, Opt(help="Who rates the sample, if somebody else.")]
Writer = Annotated[str | None, Opt(help="The model that writes the rules; without one a pack is used.")]
Rules = Annotated[str | None, Opt(help="Rules: a YAML file or pack:NAME.")]
Count = Annotated[int | None, Opt(help="Rules the writer is asked for.")]
Sample = Annotated[int | None, Opt(help="Examples rated on every rule, to choose rules by.")]
Anchor = Annotated[
    str | None, Opt(help="Column that says how good sampled examples are; 'overall' has the judge grade them, 'none'.")
]
Retest = Annotated[int | None, Opt(help="Examples of the sample rated again in other words, to see what is reliable.")]
Measure = Annotated[
    bool | None,
    Opt("--measure/--no-measure", help="Compute a rule on the corpus where its expression agrees with the judge."),
]
Keep = Annotated[str | None, Opt("-r", "--keep", help="Rules to keep, or 'auto'.")]
StoreName = Annotated[str | None, Opt(help="The store; <corpus>.duckdb if not named.")]
Seed = Annotated[int | None, Opt(help="Names every draw.")]
Limit = Annotated[int | None, Opt(help="Read at most this many examples.")]
Duplicates = Annotated[str | None, Opt(help="keep-first or keep-all.")]
Coverage = Annotated[float | None, Opt(help="Least share of the rules that must be rated.")]
PromptField = Annotated[str | None, Opt(help="Field of the prompt.")]
ResponseField = Annotated[str | None, Opt(help="Field of the response.")]
TextField = Annotated[str | None, Opt(help="Field of plain text.")]
MaxFailed = Annotated[float | None, Opt(help="Largest share of ratings that may fail.")]
MaxCost = Annotated[float | None, Opt(help="Most dollars of the run, earlier attempts included.")]
MaxRequests = Annotated[int | None, Opt(help="Most requests of the run, earlier attempts included.")]
Concurrency = Annotated[int | None, Opt(help="Most requests at once (64).")]
Rpm = Annotated[float | None, Opt(help="Requests a minute the provider allows.")]
Tpm = Annotated[float | None, Opt(help="Tokens a minute the provider allows.")]
Timeout = Annotated[float | None, Opt(help="Seconds to wait for an answer (120).")]
Yes = Annotated[bool, Opt("--yes", "-y", help="Do not ask before spending.")]
AsJson = Annotated[bool, Opt("--json", help="JSON for machines.")]

SPENDING = ("max_failed", "max_cost", "max_requests", "concurrency", "rpm", "tpm", "timeout")
FIELDS = ("prompt_field", "response_field", "text_field", "limit")


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
    return {name: given.get(name) for name in SPENDING} | {"yes": given.get("yes") or None}


def kept(given: str | None) -> int | str | None:
    """-r as a number, or the word."""
    return int(given) if given and given.isdigit() else given


def parameters(given: list[str] | None, option: str = "--param") -> dict[str, Any]:
    """NAME=VALUE options as values: numbers, true/false and null as YAML reads them."""
    import yaml

    from rulesel.errors import UsageError

    found: dict[str, Any] = {}
    for one in given or []:
        name, sign, value = one.partition("=")
        if not sign or not name:
            raise UsageError(f"{option} takes NAME=VALUE, got {one!r}.")
        found[name] = yaml.safe_load(value)
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
