"""What a run is asked to do, checked whole before anything is read or spent."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from rulesel.digest import digest
from rulesel.errors import UsageError, listed
from rulesel.judges import Judge, judge_for
from rulesel.judges.rubric import RubricJudge
from rulesel.llm.names import model_id
from rulesel.llm.prices import Price
from rulesel.llm.sender import Limits
from rulesel.plugins import build
from rulesel.raters import Rater, rater_for
from rulesel.raters.chat import Chat
from rulesel.rules.choose import Kernel
from rulesel.rules.methods import Method
from rulesel.rules.weights import WeightKind
from rulesel.selection import Selector
from rulesel.yaml_file import load_values

COSMETIC = frozenset(
    {
        *("out", "store", "concurrency", "yes", "max_cost", "max_requests", "max_failed", "rpm", "tpm", "timeout"),
        *("prices", "engine", "actors"),
    }
)
"""Settings that change how a run is carried out, not what it finds; they are not part of its identity."""


class Section(BaseModel):
    """A frozen part of the configuration in which unknown names are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CorpusConfig(Section):
    """Where the examples are and how their fields are read."""

    path: str
    prompt_field: str | None = None
    response_field: str | None = None
    text_field: str | None = None
    limit: int | None = Field(default=None, ge=1)
    """Read at most this many examples."""


class RulesConfig(Section):
    """Where the rules come from and how some of them are chosen."""

    source: str | None = None
    """A YAML file or "pack:NAME"; None for the pack nearest to the domain, or what `writer` writes."""
    writer: str | None = None
    count: int = Field(default=50, ge=2, le=1000)
    """Rules the writer is asked for."""
    sample: int = Field(default=1000, ge=2)
    """Examples rated on every rule."""
    anchor: str | None = "overall"
    """Column that says how good the sampled examples are, to choose rules by; "overall" has the judge grade them."""
    measure: bool = True
    """Where a model reads and a rule has an expression that ranks the sample as the model does, compute the corpus."""
    retest: int = Field(default=0, ge=0)
    """Examples of the sample rated again under a paraphrased prompt, to see which rules are rated reliably."""
    keep: int | Literal["auto"] = 10
    method: Method = "map"
    kernel: Kernel | None = None
    weights: WeightKind = "uniform"
    required: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _again(self) -> RulesConfig:
        if self.retest > self.sample:
            raise ValueError(f"retest {self.retest} is more than the sample of {self.sample} examples it is drawn from")
        return self

    @field_validator("anchor")
    @classmethod
    def _or_none(cls, value: str | None) -> str | None:
        return None if value == "none" else value

    @field_validator("writer")
    @classmethod
    def _names_a_model(cls, value: str | None) -> str | None:
        if value is not None:
            model_id(value)
        return value

    @field_validator("keep")
    @classmethod
    def _positive(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value < 1:
            raise ValueError("keep at least one rule")
        return value


class SelectConfig(Section):
    """The method, its parameters and how much to pick."""

    method: str = "top_k"
    parameters: dict[str, Any] = {}
    k: int | None = Field(default=None, ge=1)
    fraction: float | None = Field(default=None, gt=0, le=1)
    threshold: float | None = None
    """In the unit of the column `quality`: its least value, or its largest where lower is better. The unit of `score` is
    standard deviations above the mean of the sample, averaged over the rules."""
    max_tokens: int | None = Field(default=None, ge=1)
    per: dict[str, int] = {}
    """{field: n}: at most n examples of each value of that field of the record."""
    quality: str = "score"
    """The column that says how good an example is."""
    embedding: str | None = None
    """Vectors to compare examples by: a stored feature, a model's folder or "projection"; unnamed, an imported
    embedding that has vectors of at least half of the examples, else the projection."""
    tags: str = "clusters"
    """Labels for methods that read them: "clusters" or "clusters:N" of the embedding, or a field of the records."""

    @field_validator("tags")
    @classmethod
    def _tags(cls, value: str) -> str:
        head, _, count = value.partition(":")
        if head == "clusters" and count and not (count.isdigit() and int(count)):
            raise ValueError("clusters:N needs a number of at least 1")
        return value

    @model_validator(mode="after")
    def _amount(self) -> SelectConfig:
        if self.k is not None and self.fraction is not None:
            raise ValueError("give k or fraction, not both")
        if not any((self.k, self.fraction, self.threshold is not None, self.max_tokens, self.per)):
            raise ValueError("say how much to pick: k, fraction, threshold, max_tokens or per")
        if len(self.per) > 1 or any(n < 1 for n in self.per.values()):
            raise ValueError("per takes one field and a number of at least 1")
        return self

    @property
    def selector(self) -> Selector:
        """The method with its parameters checked."""
        return build("rulesel.selection", self.method, Selector, dict(self.parameters))

    @property
    def needs_quality(self) -> bool:
        """Whether a row without quality cannot be selected."""
        return "quality" in self.selector.reads or self.threshold is not None

    @property
    def clusters(self) -> int | None:
        """How many clusters stand for tags, 0 for as many as suit; None where a field says the tags."""
        head, _, count = self.tags.partition(":")
        return int(count or 0) if head == "clusters" else None


class PickConfig(Section):
    """A selection from what a store holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    select: SelectConfig
    duplicates: Literal["keep-first", "keep-all"] = "keep-first"
    seed: int = 0
    out: str
    as_: Literal["messages", "alpaca", "sharegpt"] | None = Field(default=None, alias="as")
    store: str | None = None

    @model_validator(mode="after")
    def _method(self) -> PickConfig:
        _ = self.select.selector
        return self


class Spending(Section):
    """How hard models may be asked, and for how much."""

    max_failed: float = Field(default=0.1, ge=0, le=1)
    """Largest share of ratings that may fail."""
    max_cost: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Most dollars of the run, earlier attempts included."""
    max_requests: int | None = Field(default=None, ge=0)
    concurrency: int = Field(default=64, ge=1)
    rpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Requests a minute the provider allows."""
    tpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Tokens a minute the provider allows."""
    timeout: float = Field(default=120.0, gt=0, allow_inf_nan=False)
    """Seconds after which an answer no longer counts as coming."""
    prices: dict[str, Price] = {}
    """Dollars for a million tokens by model, where nobody else knows them."""
    yes: bool = False
    """Do not ask before spending."""

    @property
    def limits(self) -> Limits:
        """How hard models may be asked."""
        return Limits(
            concurrency=self.concurrency,
            requests_per_minute=self.rpm,
            tokens_per_minute=self.tpm,
            seconds=self.timeout,
        )


class JudgeConfig(Spending):
    """Grades for the examples of a corpus."""

    corpus: CorpusConfig | None = None
    """None for the corpus the store holds."""
    store: str | None = None
    judge: str
    rubric: str = "overall"
    """A rubric of ours, a YAML file, or "pairwise"."""
    about: str | None = None
    """In place of the rubric's own words: the domain of "overall", the criterion of "pairwise"."""
    sample: int | None = Field(default=None, ge=2)
    """Grade this many examples drawn at random, not all."""
    seed: int = 0

    @model_validator(mode="after")
    def _place(self) -> JudgeConfig:
        if self.corpus is None and self.store is None:
            raise ValueError("name a corpus, or the store that holds one")
        _ = self.opinion
        return self

    @property
    def opinion(self) -> Judge:
        """The judge itself."""
        return judge_for(self.rubric, self.judge, **({} if self.about is None else {"about": self.about}))

    @property
    def store_path(self) -> Path:
        """The store file; beside the corpus unless named."""
        return store_beside(self.store, self.corpus)


class ScoreConfig(Spending):
    """Scores for a corpus: which rules, rated by whom."""

    corpus: CorpusConfig
    domain: str = ""
    judge: str = "signals"
    judge_parameters: dict[str, Any] = {}
    """Parameters of the rater, such as `dtype` or `tensor_parallel` of vllm:…; see `rulesel catalog`."""
    sample_judge: str | None = None
    engine: Literal["local", "ray"] = "local"
    """Where raters that compute for themselves run: in this process, or on a Ray cluster."""
    actors: int | None = Field(default=None, ge=1)
    """Ray actors at a time; None for as many as the cluster has room for."""
    rules: RulesConfig = RulesConfig()
    coverage: float = Field(default=0.9, ge=0, le=1)
    """Least share of the chosen rules' weight that must be rated for an example to get a score."""
    duplicates: Literal["keep-first", "keep-all"] = "keep-first"
    seed: int = 0
    store: str | None = None

    @model_validator(mode="after")
    def _raters(self) -> ScoreConfig:
        if isinstance(self.rater, Chat) and self.engine == "ray":
            raise ValueError(f"engine ray runs raters that compute for themselves (vllm:…, signals), not {self.judge}")
        _ = self.sample_rater
        return self

    @property
    def rater(self) -> Rater:
        """Who rates the corpus."""
        return rater_for(self.judge, **self.judge_parameters)

    @property
    def sample_rater(self) -> Rater:
        """Who rates the sample the rules are chosen on."""
        return self.rater if self.sample_judge in {None, self.judge} else rater_for(str(self.sample_judge))

    @property
    def reads(self) -> bool:
        """Whether somebody reads the examples, sample and corpus, and nothing is computed from the start."""
        return not (self.rater.exact or self.sample_rater.exact)

    @property
    def anchor_judge(self) -> RubricJudge | None:
        """Who grades the sample without the rules; None where the anchor is a column, or nobody reads."""
        grader = self.sample_rater.grader
        if self.rules.anchor != "overall" or grader is None or self.engine == "ray":
            return None
        return RubricJudge(model=grader, about=self.domain or None)

    @property
    def store_path(self) -> Path:
        """The store file; beside the corpus unless named."""
        return store_beside(self.store, self.corpus)

    def identity(self, corpus_sha256: str) -> str:
        """Content address of what the run finds: the corpus's bytes and every setting that matters."""
        return run_identity(run_settings(self.model_dump(mode="json", by_alias=True)), corpus_sha256)


class RunConfig(ScoreConfig, PickConfig):
    """One run, from a corpus to a ranked selection."""

    @model_validator(mode="after")
    def _own_score(self) -> RunConfig:
        if self.select.quality != "score":
            raise ValueError(
                f"select.quality: a run selects by its own score; `rulesel select --quality {self.select.quality}` "
                "selects by that column"
            )
        return self


def run_settings(dumped: dict[str, Any]) -> dict[str, Any]:
    """Of a run's settings in JSON those that matter for what it finds; models go by their names without addresses."""
    settings = {name: value for name, value in dumped.items() if name not in COSMETIC}
    settings["corpus"] = {name: value for name, value in settings["corpus"].items() if name != "path"}
    settings["rules"] = settings["rules"] | {"writer": _hostless(settings["rules"]["writer"])}
    return settings | {name: _hostless(settings[name]) for name in ("judge", "sample_judge")}


def run_identity(settings: dict[str, Any], corpus_sha256: str) -> str:
    """Content address of a run, from `run_settings` and the SHA-256 of its corpus."""
    return digest(["run/1", corpus_sha256, settings])


def pick_identity(settings: dict[str, Any], corpus_sha256: str) -> str:
    """Content address of a selection by a column, from the settings of a `PickConfig` without its files."""
    named = {"as_" if name == "as" else name: value for name, value in settings.items()}
    return digest(["select/1", corpus_sha256, named])


def _hostless(name: str | None) -> str | None:
    """A model's name without its address: a server that moved to another port is the same model."""
    return model_id(name) if name is not None and name.startswith(("http://", "https://")) else name


def store_beside(store: str | None, corpus: CorpusConfig | None) -> Path:
    """The store a user named, or the one beside the corpus."""
    if store is not None:
        return Path(store)
    path = "-" if corpus is None else corpus.path
    return Path("stdin.duckdb") if path == "-" else Path(path.rstrip("/") + ".duckdb")


C = TypeVar("C", bound=Section)


def check(kind: type[C], values: dict[str, Any]) -> C:
    """A configuration of that kind from plain values.

    Raises:
        UsageError: one line that lists every mistake.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise UsageError(listed([_mistake(e) for e in error.errors()])) from error


def load(path: Path) -> dict[str, Any]:
    """The plain values of a YAML configuration file.

    Raises:
        UsageError: the file is missing, no YAML, or not a mapping.
    """
    values = load_values(path).value
    if not isinstance(values, dict):
        raise UsageError(f"{path} holds no configuration: `rulesel init` writes one.")
    if isinstance(values.get("corpus"), str):
        values["corpus"] = {"path": values["corpus"]}
    return values


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with the values of `over` that are not None laid over it, section by section.

    Raises:
        UsageError: a section of `base` is none.
    """
    result = dict(base)
    for name, value in over.items():
        if isinstance(value, dict):
            section = base.get(name) or {}
            if not isinstance(section, dict):
                raise UsageError(f"{name}: expected a section of settings (got {_shown(section)})")
            result[name] = merged(section, value)
        elif value is not None:
            result[name] = value
    return {name: value for name, value in result.items() if value != {} or name in base}


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _mistake(error: Any) -> str:  # noqa: ANN401 - pydantic's ErrorDetails
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{where} is missing: give it as an option or as `{where}:` in the config"
    message = str(error["msg"]).removeprefix("Value error, ")
    value = "" if error["type"] == "value_error" else f" (got {_shown(error['input'])})"
    return f"{where}: {message}{value}" if where else f"{message}{value}"
