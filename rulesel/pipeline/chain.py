"""The stages of a run in their order; each asks the store first what is done."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from rulesel.config import ScoreConfig
from rulesel.engines.ray import Cluster
from rulesel.errors import TooManyFailures, UsageError
from rulesel.judges.rubric import RubricJudge
from rulesel.llm.names import IN_PROCESS, is_free
from rulesel.llm.starts import Tried
from rulesel.pipeline.constant import NARROW, narrow
from rulesel.pipeline.grading import grade
from rulesel.pipeline.lending import attempt
from rulesel.pipeline.measuring import measured_rules, tell
from rulesel.pipeline.rating import check_failures, rate
from rulesel.pipeline.sharding import rate_on
from rulesel.pipeline.starting import begun, remembered
from rulesel.pipeline.watch import Watcher
from rulesel.pipeline.writing import written_rules
from rulesel.raters import Rater
from rulesel.raters.chat import Chat
from rulesel.raters.signals import Signals
from rulesel.receipt import (
    Evidence,
    Rated,
    Scored,
    choice_of,
    evidence_of,
    pool_of,
    rated,
    sample_of,
    score_identity,
    scored,
)
from rulesel.records import Batch, Flag, Int64, Rule, RuleSet, Status
from rulesel.rules.choice import RuleChoice
from rulesel.rules.filters import WRONG_WAY
from rulesel.rules.measured import without_sql
from rulesel.rules.packs import load_rules, nearest_pack
from rulesel.store import CorpusRecord, Store


def named_rules(config: ScoreConfig, watcher: Watcher) -> RuleSet | None:
    """The candidate rules where a file or pack says them, None where a model writes them.

    Raises:
        UsageError: nothing says where they come from, or the file is wrong.
    """
    if config.rules.source is not None:
        rule_set = load_rules(config.rules.source)
        watcher.say(f"rules: {len(rule_set)} from {config.rules.source}")
        return rule_set
    if not config.domain:
        raise UsageError("Say what the examples are for with --domain, or name the rules with --rules.")
    if config.rules.writer is not None:
        return None
    name, _, why = nearest_pack(config.domain)
    watcher.say(f"rules: pack:{name}, the nearest to the domain ({why})")
    return load_rules(f"pack:{name}")


SHOWN = 3
"""Rules left out that are named."""


class Chain:
    """One attempt at a run on an open store."""

    def __init__(
        self,
        store: Store,
        config: ScoreConfig,
        corpus: CorpusRecord,
        watcher: Watcher,
        again: Collection[Status] = (),
    ) -> None:
        """Cells that failed in one of the ways `again` are asked for once more."""
        self.store, self.config, self.corpus, self.watcher, self.again = store, config, corpus, watcher, again
        self.identity = config.identity(corpus.sha256)
        sample, corpus_rater = (remembered(store, rater) for rater in (config.sample_rater, config.rater))
        if sample.id == corpus_rater.id:
            corpus_rater = sample  # one engine
        self._raters: dict[str, Rater] = {"sample": sample, "corpus": corpus_rater}
        self._cluster: Cluster | None = None
        if config.rules.retest and (reworded := sample.reworded()) is not None:
            self._raters["retest"] = reworded
        self._proposals: dict[str, str] = {}

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Record the attempt; let go of models and engines at the end."""
        try:
            with attempt(self.store, self.config, self.identity, self.watcher) as self._lender:
                yield
        finally:
            for rater in self._raters.values():
                rater.close()
            if self._cluster is not None:
                self._cluster.close()

    @property
    def raters(self) -> list[Rater]:
        """Everybody who rates."""
        return list(self._raters.values())

    @property
    def retest(self) -> Rater | None:
        """Who rates a part of the sample again, asked in other words; None where nobody does."""
        return self._raters.get("retest")

    @property
    def models(self) -> list[str]:
        """Every model that is asked."""
        rating = [rater.model for rater in self._raters.values() if isinstance(rater, Chat)]
        return [*filter(None, [self.config.rules.writer if self.config.rules.source is None else None]), *rating]

    def starts(self) -> dict[str, str]:
        """The start of the answers by stage, of raters that have one."""
        return {stage: start for stage, rater in self._raters.items() if (start := rater.answer_start)}

    def rater_ids(self) -> dict[str, str]:
        """Identity of each rater by the stage it works in."""
        return {stage: rater.id for stage, rater in self._raters.items()}

    def rules(self, named: RuleSet | None) -> RuleSet:
        """The rules that every rater can rate; written first where none are named."""
        rule_set = named
        if rule_set is None:
            writer = str(self.config.rules.writer)
            rule_set = written_rules(self.store, self.config, writer, self.corpus, self._lender, self.watcher)
        rule_set, refused = ratable(rule_set, self.raters)
        if refused:
            more = " …" if len(refused) > 3 else ""
            self.watcher.say(f"rules: {len(refused)} cannot be rated and are left out: {'; '.join(refused[:3])}{more}")
        if self.config.reads:
            rule_set, proposals = without_sql(rule_set)
            self._proposals = proposals if self.config.rules.measure else {}
        self.store.rules.keep(rule_set)
        return rule_set

    def sample(self, rule_set: RuleSet) -> tuple[RuleSet, Rated]:
        """The sample rated on every rule, and graded or rated again where the choice is to use that.

        Returns:
            The rules, those with an expression that can be computed on the corpus; and their ratings.
        """
        rows = self.store.corpora.rows(self.corpus.corpus)
        contents = sample_of(rows, self.config.rules.sample, self.config.seed)
        self.begin("sample", rule_set.rules[0], contents)
        number = self._rate(rule_set.rules, contents, "sample")
        if (judge := self.config.anchor_judge) is not None:
            self._grade(judge, contents)
        elif self.config.rules.anchor == "overall" and not self.config.sample_rater.exact:
            self.watcher.say("no anchor: a model on a cluster gives no grades, so rules are weighed by their agreement")
        if self.retest is not None:
            self._rate(rule_set.rules, sample_of(rows, self.config.rules.retest, self.config.seed), "retest")
        elif self.config.rules.retest:
            self.watcher.say("no retest: this rater has no second wording")
        rule_set, found = measured_rules(self.store, rule_set, self._proposals, contents, number, self.config.seed)
        for line in tell(found):
            self.watcher.say(line)
        if any(one.why is None for one in found):
            self.store.rules.keep(rule_set)
            self._raters["measured"] = Signals()
        sample = rated(self.store, rule_set, contents, number, self._measured)
        self._tell_spread(sample)
        return rule_set, sample

    def _grade(self, judge: RubricJudge, contents: Int64) -> None:
        """Have the sample graded without the rules, by the engine that rates where the model is in this process."""
        rater = self._raters["sample"]
        local = judge.model.startswith(IN_PROCESS)
        if local:
            self._lender.engines[judge.model] = rater.chat
        try:
            grade(
                self.store,
                judge.by(rater.id, rater.answer_start) if local else judge,
                judge.model,
                contents,
                "grade sample",
                lender=self._lender,
                watcher=self.watcher,
                max_failed=self.config.max_failed,
                again=self.again,
            )
        except TooManyFailures as error:
            if not local:
                raise
            self.watcher.say(f"the rules are chosen with the grades there are: {error}")

    def evidence(self, rule_set: RuleSet, sample: Rated) -> Evidence:
        """What is known of the rules beside the sample's ratings."""
        again = None if self.retest is None else self.store.rules.rater_number(self.retest.id)
        rater = self._raters["sample"].id
        return evidence_of(self.store, self.config, rule_set, self.corpus, sample, again, rater=rater)

    def choose(self, rule_set: RuleSet, sample: Rated, evidence: Evidence) -> RuleChoice:
        """The rules kept."""
        choice = choice_of(self.config, rule_set, sample, evidence)
        graded = 0 if evidence.anchor is None else int((~np.isnan(evidence.anchor)).sum())
        anchor = f", {graded:,} with an anchor" if graded else ""
        self.watcher.say(
            f"chosen: {len(choice.indices)} of {len(rule_set)} rules on {len(sample.contents):,} rated examples{anchor} "
            f"(rho {choice.rho:.3f}, root mean square r {choice.rms_corr:.3f}); {len(choice.dropped)} dropped"
        )
        against = [(j, why) for j, why in choice.dropped if why.startswith(WRONG_WAY)]
        for j, why in against[:SHOWN]:
            self.watcher.say(f"  left out: {rule_set.rules[j].name!r} {why}")
        if len(against) > SHOWN:
            self.watcher.say(f"  and {len(against) - SHOWN} more that point the wrong way; the receipt names them")
        for warning in choice.warnings:
            self.watcher.say(f"  {warning}")
        return choice

    def score(self, rule_set: RuleSet, sample: Rated, evidence: Evidence, choice: RuleChoice) -> Scored:
        """The pool rated on the chosen rules and scored; the scores are kept as the column `score`."""
        rules = [rule_set.rules[j] for j in choice.indices]
        read, contents = self.to_read(rule_set, choice)
        if (other := self._raters["sample"]) is not self._raters["corpus"]:
            other.close()  # two engines do not fit one graphics processor
        if read:
            self.begin("corpus", read[0], contents)
        number = self._rate(read, contents, "corpus")
        measured = self._measured
        if measured is not None:
            self._rate([rule for rule in rules if rule.sql is not None], contents, "corpus", "measured")
        found = scored(self.store, self.config, self.corpus, sample, choice, number, measured)
        self._tell_flags(contents, number)
        names = [rule.name for rule in rules]
        apart = [measured is not None and j < len(sample.measured) and sample.measured[j] for j in choice.indices]
        raters = [measured if one and measured is not None else number for one in apart]
        self.store.ratings.widen(found.numbers, names, raters)
        distinct, first = np.unique(found.rows.content[found.pool], return_index=True)
        self.store.columns.add(
            "score",
            score_identity(self.store, self.config, rule_set, self.rater_ids(), sample, evidence, found),
            distinct,
            found.scores[first],
            provenance={
                "rule_set": rule_set.id,
                "rules": names,
                "weights": choice.weights.tolist(),
                "judge": self.config.judge,
            },
        )
        return found

    def to_read(self, rule_set: RuleSet, choice: RuleChoice) -> tuple[list[Rule], Int64]:
        """The chosen rules that are not computed, and the pool's contents, ascending."""
        rows = self.store.corpora.rows(self.corpus.corpus)
        rules = [rule_set.rules[j] for j in choice.indices]
        read = [rule for rule in rules if self._measured is None or rule.sql is None]
        return read, np.unique(rows.content[pool_of(rows, self.config.duplicates)])

    def begin(self, stage: str, rule: Rule, contents: Int64) -> None:
        """Have a rater's answers begin as they will in the whole run, chosen now if it was not before.

        Raises:
            ModelError: no start of the answer makes it a digit.
        """
        before = self._raters[stage]
        if not before.undecided:
            return
        lent = self._lender.lent(stage)

        def ask(batch: Batch, rule: Rule) -> list[Tried]:
            if self._rates_on_ray(before):
                return self._on_ray().try_starts(self._judge(stage), before, batch, rule, self.store.secret)
            return before.try_starts(batch, rule, lent)

        rater = begun(self.store, before, contents, rule, ask, self.watcher)
        for other, same in self._raters.items():
            if same is before:
                self._raters[other] = rater
        if stage == "sample" and "retest" in self._raters and (again := rater.reworded()) is not None:
            self._raters["retest"] = again

    def keep_rater(self) -> Rater:
        """The corpus's rater, from now on the caller's to close."""
        kept = self._raters["corpus"]
        self._raters = {stage: rater for stage, rater in self._raters.items() if rater is not kept}
        return kept

    def free(self) -> bool:
        """True if nobody can send a bill for this run."""
        return all(map(is_free, self.models))

    def _tell_spread(self, sample: Rated) -> None:
        """That the rater hardly tells examples apart, where that is so."""
        hardly = narrow(sample.values)
        if not self.config.sample_rater.exact and 2 * hardly > sample.values.shape[1]:
            self.watcher.say(
                f"warning: {hardly} of {sample.values.shape[1]} rules have nine tenths of their ratings within {NARROW:g} "
                "of the scale: this judge hardly tells these examples apart"
            )

    def _tell_flags(self, contents: Int64, rater: int) -> None:
        """What is unusual about ratings that are valid all the same."""
        flags = self.store.ratings.flags(contents, rater)
        for flag, what in (
            (
                Flag.fence_broken,
                "examples speak to the judge or hold control tokens; `rulesel judge check --suspects` lists them",
            ),
            (Flag.document_cut, "examples were longer than the judge is shown, and lost their middle"),
            (Flag.sampled, "examples have ratings that are single digits, for want of log-probabilities"),
        ):
            if flags.get(flag):
                self.watcher.say(f"{flags[flag]:,} {what}")

    @property
    def _measured(self) -> int | None:
        """The number of the rater of rules that are computed, None if there are none."""
        rater = self._raters.get("measured")
        return None if rater is None else self.store.rules.rater_number(rater.id)

    def _rate(self, rules: Sequence[Rule], contents: np.ndarray, stage: str, who: str | None = None) -> int:
        config = self.config
        rater = self._raters[who or stage]
        asked = (self.store, rater, self._judge(stage), rules, contents, stage)
        if who is None and self._rates_on_ray(rater):
            number = rate_on(
                self._on_ray(), *asked, watcher=self.watcher, max_failed=config.max_failed, again=self.again
            )
        else:
            number = rate(
                *asked,
                lender=self._lender,
                watcher=self.watcher,
                max_failed=config.max_failed,
                verb="compute" if who == "measured" else "rate",
                again=self.again,
            )
        check_failures(self.store, contents, self.store.rules.numbers(rules), number, config.max_failed, stage)
        return number

    def _judge(self, stage: str) -> str:
        """What names the rater of a stage."""
        config = self.config
        return config.judge if stage == "corpus" else config.sample_judge or config.judge

    def _rates_on_ray(self, rater: Rater) -> bool:
        return self.config.engine == "ray" and not isinstance(rater, Chat)

    def _on_ray(self) -> Cluster:
        if self._cluster is None:
            gpus = max(getattr(rater, "tensor_parallel", 0) for rater in self.raters)
            self._cluster = Cluster(actors=self.config.actors, gpus=gpus)
        return self._cluster


def ratable(rule_set: RuleSet, raters: Sequence[Rater]) -> tuple[RuleSet, list[str]]:
    """The rules that all raters can rate, and the names of the others with the reason.

    Raises:
        UsageError: there is none.
    """
    kept: list[Rule] = []
    refused: list[str] = []
    for rule in rule_set.rules:
        why = next((reason for rater in raters if (reason := rater.refuses(rule)) is not None), None)
        if why is None:
            kept.append(rule)
        else:
            refused.append(f"{rule.name}: {why}")
    if not kept:
        raise UsageError(f"The rater can rate none of the {len(rule_set)} rules; the first: {refused[0]}")
    return (rule_set.model_copy(update={"rules": tuple(kept)}) if refused else rule_set), refused
