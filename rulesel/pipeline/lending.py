"""What a run lends its raters: chat models joined with one ledger, one budget, one set of limits."""

from __future__ import annotations

from pathlib import Path

from rulesel.config import ScoreConfig
from rulesel.llm.base import ChatModel, Lent
from rulesel.llm.names import open_chat
from rulesel.store import Store
from rulesel.store.ledger import Ledger, StageLedger


class Lender:
    """Opens models on first use and keeps their books; close it when the run ends."""

    def __init__(self, store: Store, config: ScoreConfig, run: str) -> None:
        """Open the ledger of a run; what an earlier attempt left under way counts as spent."""
        path = None if store.path is None else replies_of(store.path)
        self._store, self._config = store, config
        self.ledger = Ledger(
            path,
            run=run,
            max_cost=config.max_cost,
            max_requests=config.max_requests,
            already=store.calls.of_run(run),
        )
        self._stages: dict[str, StageLedger] = {}
        self._models: dict[tuple[str, str], ChatModel] = {}

    def lent(self, stage: str, *, lean: bool = True) -> Lent:
        """What one stage may use; its calls are booked under the stage's name."""
        ledger = self._stages.setdefault(stage, self.ledger.stage(stage))

        def chat(name: str) -> ChatModel:
            if (stage, name) not in self._models:
                self._models[stage, name] = open_chat(
                    name, ledger=ledger, prices=self._config.prices, limits=self._config.limits, lean=lean
                )
            return self._models[stage, name]

        return Lent(self._store.secret, chat)

    @property
    def dollars(self) -> float | None:
        """Spent so far; None where nothing was priced."""
        spent = self.ledger.spent
        return spent.cost if spent.cost or (spent.requests and not spent.unpriced) else None

    def kept(self, stage: str) -> None:
        """What the stage handed out is in the store: move the bill there, and let go of the replies."""
        finished = self.ledger.finished()
        if finished.num_rows:
            self._store.calls.add(finished)
            self.ledger.moved()
        if stage in self._stages:
            self._stages[stage].release()

    def close(self) -> None:
        """Let go of models and ledger, the bill so far moved into the store."""
        for model in self._models.values():
            model.close()
        finished = self.ledger.finished()
        if finished.num_rows:
            self._store.calls.add(finished)
            self.ledger.moved()
        self.ledger.close()


def replies_of(store: Path) -> Path:
    """Where the replies not yet in the store are kept."""
    return store.with_name(store.name + ".replies.sqlite")
