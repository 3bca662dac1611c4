"""What a run lends its raters: chat models joined with one ledger, one budget, one set of limits."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from rulesel.config import Spending
from rulesel.errors import Interrupted, RuleselError, UsageError
from rulesel.llm.base import ChatModel, ChatRequest, Completion, Failure, Lent
from rulesel.llm.names import model_id, open_chat
from rulesel.llm.prices import find_price
from rulesel.pipeline.watch import Watcher
from rulesel.receipt import packages
from rulesel.store import Store
from rulesel.store.ledger import Ledger, StageLedger


class Lender:
    """Opens models on first use and keeps their books; close it when the run ends."""

    def __init__(self, store: Store, config: Spending, run: str, watcher: Watcher) -> None:
        """Open the ledger of a run; what an earlier attempt left under way counts as spent.

        A stop that `watcher` asks for is heeded also while an answer is waited for.
        """
        path = None if store.path is None else replies_of(store.path)
        self._store, self._config, self._watcher = store, config, watcher
        self.ledger = Ledger(
            path,
            run=run,
            max_cost=config.max_cost,
            max_requests=config.max_requests,
            already=store.calls.of_run(run),
        )
        unpriced = store.db.one("SELECT count(*) FROM calls WHERE run = ? AND cost IS NULL", run)
        self._unpriced_before = int(unpriced)
        self._stages: dict[str, StageLedger] = {}
        self._models: dict[tuple[str, str], ChatModel] = {}
        self.engines: dict[str, Callable[[], ChatModel]] = {}
        """Models in this process by name: the engine of a rater, which is its owner's to close."""

    def lent(self, stage: str, *, lean: bool = True, answered: Callable[[], None] | None = None) -> Lent:
        """What one stage may use; its calls are booked under the stage's name.

        Args:
            stage: the name.
            lean: many short requests.
            answered: called after every answer; what it raises ends the stage, and every answer so far is kept.
        """
        ledger = self._stages.setdefault(stage, self.ledger.stage(stage))

        def chat(name: str) -> ChatModel:
            if name in self.engines:
                self._models[stage, name] = self.engines[name]()
            elif (stage, name) not in self._models:
                self._models[stage, name] = open_chat(
                    name,
                    ledger=ledger,
                    prices=self._config.prices,
                    limits=self._config.limits,
                    lean=lean,
                    heartbeat=self._watcher.check,
                )
            model = self._models[stage, name]
            return model if answered is None else _Watched(model, answered)

        return Lent(self._store.secret, chat)

    @property
    def dollars(self) -> float | None:
        """Spent so far; None where nothing was asked, or the price of some of it is unknown."""
        spent = self.ledger.spent
        return round(spent.cost, 6) if spent.requests and not self._unpriced else None

    @property
    def _unpriced(self) -> int:
        return self._unpriced_before + self.ledger.spent.unpriced

    @property
    def bill(self) -> str | None:
        """The account of the run so far in one line; None if nothing was asked."""
        spent = self.ledger.spent
        if not spent.requests and not spent.reused:
            return None
        parts = [f"{spent.requests:,} requests"]
        failed = {name: n for name, n in spent.outcomes.items() if name != "ok"}
        if failed:
            parts.append("of this attempt's " + ", ".join(f"{n:,} ended as {name}" for name, n in failed.items()))
        if spent.reused:
            parts.append(f"{spent.reused:,} answers kept from before")
        if spent.prompt_tokens:
            cached = f" ({spent.cached_tokens:,} cached)" if spent.cached_tokens else ""
            parts.append(f"{spent.prompt_tokens:,} tokens in{cached}, {spent.completion_tokens:,} out")
        if self._unpriced and spent.cost:
            parts.append(f"${spent.cost:.2f} besides {self._unpriced:,} at an unknown price")
        else:
            parts.append("price unknown" if self._unpriced else f"${spent.cost:.2f}")
        return "asked: " + "; ".join(parts)

    def kept(self, stage: str) -> None:
        """What the stage handed out is in the store: move the bill there, and let go of the replies."""
        self._settle()
        if stage in self._stages:
            self._stages[stage].release()

    def close(self) -> None:
        """Let go of models and ledger, the bill so far moved into the store."""
        for model in self._models.values():
            model.close()
        self._settle()
        self.ledger.close()

    def _settle(self) -> None:
        finished = self.ledger.finished()
        if finished.num_rows:
            self._store.calls.add(finished)
            self.ledger.moved()


class _Watched:
    """A chat model that tells of every answer."""

    def __init__(self, model: ChatModel, answered: Callable[[], None]) -> None:
        self._model, self._answered = model, answered

    @property
    def id(self) -> str:
        """The model's."""
        return self._model.id

    def complete(self, requests: Iterable[ChatRequest]) -> Iterator[Completion | Failure]:
        """The model's answers."""

        def answers() -> Generator[Completion | Failure, None, None]:
            yield from self._model.complete(requests)

        with closing(answers()) as found:
            for answer in found:
                self._answered()
                yield answer

    def close(self) -> None:
        """The lender closes it."""


@contextmanager
def attempt(store: Store, config: Spending, run: str, watcher: Watcher) -> Iterator[Lender]:
    """Record an attempt at a run, its outcome and its bill, and let go of the models at the end.

    Args:
        store: opened for writing.
        config: the run's settings, kept with the attempt.
        run: identity of the run; attempts of the same share a budget.
        watcher: is told the bill.
    """
    number = store.selections.start_run(run, config.model_dump(mode="json", by_alias=True), packages())
    lender = Lender(store, config, run, watcher)
    outcome = "failed"
    try:
        yield lender
        outcome = "done"
    except (Interrupted, KeyboardInterrupt):
        outcome = "interrupted"
        raise
    except RuleselError as error:
        outcome = {3: "budget reached", 4: "too many failures"}.get(error.exit_code, "failed")
        raise
    finally:
        store.selections.end_run(run, number, outcome)
        if lender.bill is not None:
            watcher.say(lender.bill)
        lender.close()


def check_prices(config: Spending, models: Iterable[str]) -> None:
    """A budget in dollars needs the price of everybody who is asked.

    Raises:
        UsageError: there is one, and a price is unknown; names the config's key.
    """
    if config.max_cost is None:
        return
    for name in models:
        if find_price(name, model_id(name), config.prices) is None:
            raise UsageError(
                f"The price of {name!r} is unknown, so --max-cost cannot be kept. Name it in the config: "
                f"prices: {{{name!r}: {{input: …, output: …}}}} (dollars for a million tokens)."
            )


def replies_of(store: Path) -> Path:
    """Where the replies not yet in the store are kept."""
    return store.with_name(store.name + ".replies.sqlite")
