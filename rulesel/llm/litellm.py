"""Every other provider, through litellm: imported on first use, told to retry nothing and to fetch nothing."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from typing import Any

import orjson

from rulesel.extras import need
from rulesel.llm.base import ChatRequest, Completion, Failure
from rulesel.llm.complaint import heard
from rulesel.llm.faults import Retryable, about_the_form, garbled, refusal
from rulesel.llm.prices import find_context
from rulesel.llm.redact import one_line
from rulesel.llm.reply import completion
from rulesel.llm.wire import Dialect, payload, told

log = logging.getLogger(__name__)


class LiteLLM:
    """One model under its litellm name; keys come from the environment, as litellm reads them."""

    def __init__(self, model: str, seconds: float, key: str | None = None) -> None:
        """Import litellm, which takes seconds.

        Args:
            model: "anthropic/…", "gemini/…", "azure/…".
            seconds: longest wait for one answer.
            key: what litellm takes from the environment, where that is known: hidden in every message.

        Raises:
            MissingExtra: litellm is not installed.
        """
        self._model, self._seconds = model, seconds
        self._secrets = [key] if key else []
        self._litellm = _imported()
        self._dialect = self._first_dialect()

    async def send(self, request: ChatRequest) -> Completion:
        """Ask once; raises as `Backend.send` says."""
        import openai

        dialect = self._dialect
        try:
            response = await self._litellm.acompletion(
                **payload(request, self._model, dialect), timeout=self._seconds, max_retries=0, num_retries=0
            )
        except openai.APITimeoutError as error:
            raise Retryable(Failure("timeout", f"no answer in {self._seconds:g} s", maybe_paid=True)) from error
        except openai.APIConnectionError as error:
            raise Retryable(Failure("http", one_line(str(error), *self._secrets), maybe_paid=True)) from None
        except openai.APIError as error:
            raise self._meaning(error, dialect, request) from None
        found = completion(response.model_dump())
        if found is None:
            raise garbled(heard(orjson.dumps(response.model_dump(), default=str)))
        return found

    async def context(self) -> int | None:
        """Most tokens of a request, by litellm's map."""
        return find_context(self._model)

    async def close(self) -> None:
        """Close the clients litellm keeps."""
        await self._litellm.close_litellm_async_clients()

    def _first_dialect(self) -> Dialect:
        takes = self._litellm.get_supported_openai_params(model=self._model) or []
        return Dialect(
            structured="json_schema" if "response_format" in takes else "text",
            top_logprobs=Dialect().top_logprobs if {"logprobs", "top_logprobs"} <= set(takes) else 0,
            temperature="temperature" in takes,
        )

    def _meaning(self, error: Exception, used: Dialect, request: ChatRequest) -> Exception:
        status = int(getattr(error, "status_code", 500) or 500)
        headers = {
            str(name).lower(): str(value)
            for name, value in (getattr(error, "litellm_response_headers", None) or {}).items()
        }
        filtered = isinstance(error, self._litellm.ContentPolicyViolationError)
        code = "content_filter" if filtered else getattr(error, "code", None)
        body = orjson.dumps({"error": {"message": str(error), "code": code}}, default=str)
        said = heard(body, [content for _, content in request.messages], self._secrets)
        if status < 300:
            return garbled(said)
        simpler = used.concede(request, said) if about_the_form(status, said) else None
        if simpler is not None:
            if self._dialect == used:
                self._dialect = simpler
                log.warning("%s: %s; from now on %s", self._model, said.line, told(used, simpler))
            return Retryable(Failure("http", f"{status}: {said.line}"), retry_after=0.0)
        meaning = refusal(status, headers, said, model=self._model)
        if isinstance(meaning, Retryable) and status >= 500:  # also what litellm makes of an answer it cannot read
            meaning.failure = replace(meaning.failure, maybe_paid=True)
        return meaning


def _imported() -> Any:  # noqa: ANN401 - an untyped module
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # otherwise the import itself opens the network
    litellm: Any = need("litellm", extra="litellm", feature="A model of that provider")
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.drop_params = False  # it would drop log-probabilities without a word
    return litellm
