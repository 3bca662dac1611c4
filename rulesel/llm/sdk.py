"""The openai client as a transport: TLS by the system's trust store, proxies, and all the rest of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rulesel.errors import ModelError
from rulesel.llm.base import Failure
from rulesel.llm.faults import Retryable
from rulesel.llm.http import CONNECT_SECONDS, MOST_BODY, Reply
from rulesel.llm.redact import one_line
from rulesel.llm.wire import SERVERS_OWN

if TYPE_CHECKING:
    import openai


class Sdk:
    """Sends each request once; its own retries are off."""

    def __init__(self, base: str, key: str | None, seconds: float) -> None:
        """Keep the parameters; the client is made on first use.

        Args:
            base: address up to and including "/v1".
            key: bearer token; None where the server wants none.
            seconds: longest wait for one answer.
        """
        self._base, self._key, self._seconds = base, key, seconds
        self._made: openai.AsyncOpenAI | None = None

    async def chat(self, payload: dict[str, Any], most: int = MOST_BODY) -> Reply:  # noqa: ARG002 - a model that writes
        """Ask for a chat completion; whatever status comes back is returned, a missing answer raises Retryable."""
        own = {name: value for name, value in payload.items() if name in SERVERS_OWN}  # the SDK does not know these
        sent = {name: value for name, value in payload.items() if name not in SERVERS_OWN}
        sent |= {"extra_body": own} if own else {}
        return await self._exchange(lambda: self._client().chat.completions.with_raw_response.create(**sent))

    async def models(self, most: int = MOST_BODY) -> Reply:  # noqa: ARG002 - as above
        """Ask for the list of models; as `chat`."""
        return await self._exchange(lambda: self._client().models.with_raw_response.list())

    def extend(self, path: str) -> bool:
        """Add a path to an address that was given without one; returns whether that was done."""
        if urlsplit(self._base).path.strip("/"):
            return False
        self._base = self._base.rstrip("/") + path
        if self._made is not None:
            self._made.base_url = self._base
        return True

    async def close(self) -> None:
        """Close the client's connections."""
        if self._made is not None:
            await self._made.close()

    async def _exchange(self, ask: Callable[[], Awaitable[Any]]) -> Reply:
        import openai

        try:
            async with asyncio.timeout(self._seconds + CONNECT_SECONDS):  # also bounds a body that drips
                raw = await ask()
        except openai.APIStatusError as error:
            return Reply(error.status_code, _lower(error.response.headers), bytes(error.response.content))
        except (openai.APITimeoutError, TimeoutError) as error:
            raise Retryable(Failure("timeout", f"no answer in {self._seconds:g} s", maybe_paid=True)) from error
        except _Oversized as error:
            raise Retryable(Failure("http", f"connection broke: {error}", maybe_paid=True)) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            if "CERTIFICATE_VERIFY_FAILED" in str(cause):
                line = f"{self._base}: {one_line(str(cause))} (SSL_CERT_FILE names other authorities)"
                raise ModelError(line) from error
            if type(cause).__name__.startswith("Connect"):
                line = f"no connection to {self._base}: {one_line(str(cause))}"
                raise Retryable(Failure("http", line), unreachable=True) from error
            line = f"connection broke: {one_line(str(cause))}"
            raise Retryable(Failure("http", line, maybe_paid=True)) from error
        return Reply(raw.status_code, _lower(raw.headers), bytes(raw.content))

    def _client(self) -> openai.AsyncOpenAI:
        if self._made is None:
            import openai

            self._made = openai.AsyncOpenAI(
                base_url=self._base,
                api_key=self._key or "none",
                max_retries=0,
                timeout=openai.Timeout(self._seconds, connect=CONNECT_SECONDS),
                default_headers={"accept-encoding": "identity"},
                http_client=openai.DefaultAsyncHttpxClient(
                    follow_redirects=False,  # what is sent goes to no other address
                    event_hooks={"response": [_read_bounded]},
                ),
            )
        return self._made


class _Oversized(Exception):
    """More came than an answer can take."""


async def _read_bounded(response: Any) -> None:  # noqa: ANN401 - httpx or httpx2
    """Read the body of an answer up to a bound; the client reads without one."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise _Oversized(f"an answer in {encoding[:20]}, which was not asked for")
    body, stream = bytearray(), response.stream
    async for part in stream:
        body += part
        if len(body) > MOST_BODY:
            raise _Oversized(f"an answer of more than {MOST_BODY:,} bytes")
    await stream.aclose()
    response.stream = type(response.request.stream)(bytes(body))


def _lower(headers: Any) -> dict[str, str]:  # noqa: ANN401 - httpx or httpx2 headers
    return {str(name).lower(): str(value) for name, value in headers.items()}
