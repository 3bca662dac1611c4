"""An OpenAI-compatible server that misbehaves on purpose.

    python tests/llm/server.py --faults '{"500": 0.1}' --latency 0.02

prints its port and answers until its standard input closes. GET /_stats says what it was asked and what that would
have cost; POST /_set changes its options while it runs, POST /_start begins anew with others.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import sys
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from rulesel.llm.base import ChatRequest
from rulesel.llm.fake import Fake

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
CANNED = orjson.dumps(
    {
        "id": "x", "object": "chat.completion", "created": 0, "model": "m",
        "choices": [{
            "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4"},
            "logprobs": {"content": [{"token": "4", "logprob": -0.2, "bytes": None, "top_logprobs": [
                {"token": str(d), "logprob": -0.2 - abs(d - 4) * 1.6, "bytes": None} for d in range(6)
            ]}]},
        }],
        "usage": {"prompt_tokens": 900, "completion_tokens": 1, "total_tokens": 901},
    }
)  # fmt: skip
CONTENT_FAULTS = {"empty", "null", "prose", "refusal", "range", "whitespace", "wrong_model"}


@dataclass
class Options:
    model: str = "m"
    latency: float = 0.0
    faults: dict[str, float] = field(default_factory=dict)
    """Share of requests that meet each fault."""
    seed: int = 0
    key: str | None = None
    """The only bearer token accepted."""
    unauthorized_after: int | None = None
    """From this request on every answer is 401."""
    always: str | None = None
    """One fault for every request."""
    top_logprobs: int = 20
    """Most alternatives given; asking for more is a 400 if `strict`, 0 gives none."""
    strict: bool = True
    structured: tuple[str, ...] = ("json_schema", "json_object")
    """Values of response_format.type that are understood."""
    max_tokens_field: str = "max_tokens"
    context: int | None = 8192
    wordy: bool = False
    """Answers begin with a word, unless the request's last message is an answer to be continued."""
    continues: bool = True
    """Such a message is continued; else what asks for it is a 400."""
    canned: bool = False
    """Always the same short answer, for speed."""
    chunked: bool = False
    retry_after: str = "0.05"
    sql: tuple[str, ...] = ()
    """Expressions proposed with the first rules of every answer that holds rules, another one first in each."""


@dataclass
class Stats:
    requests: int = 0
    answered: int = 0
    """Answers with status 200 that hold a completion, whatever it says."""
    repeated: int = 0
    """Completions given to a body that already had one."""
    distinct: int = 0
    """Different bodies seen."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    at_once: int = 0
    authorizations: list[str] = field(default_factory=list)
    faults: dict[str, int] = field(default_factory=dict)


class Model:
    """What is answered, and the bill."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.stats = Stats()
        self.random = random.Random(options.seed)
        self.fake = Fake.named("fake:planted")
        self.bodies: set[bytes] = set()
        self.done: set[bytes] = set()
        self.under_way = 0

    def change(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self.options, name, value)

    async def answer(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes, str | None]:
        """Status, headers, body, and what to do to the connection."""
        o, s = self.options, self.stats
        s.requests += 1
        self.under_way += 1
        s.at_once = max(s.at_once, self.under_way)
        try:
            if o.latency:
                await asyncio.sleep(o.latency)
            return await self._answer(body, headers)
        finally:
            self.under_way -= 1

    async def _answer(self, body: bytes, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes, str | None]:
        o, s = self.options, self.stats
        if o.canned:
            s.answered += 1
            return 200, {}, CANNED, None
        digest = hashlib.blake2b(body, digest_size=16).digest()
        if digest not in self.bodies:
            self.bodies.add(digest)
            s.distinct += 1
        given = headers.get("authorization", "")
        if given not in s.authorizations:
            s.authorizations.append(given)
        late = o.unauthorized_after is not None and s.requests > o.unauthorized_after
        if late or (o.key is not None and given != f"Bearer {o.key}"):
            return self._error(401, f"Incorrect API key provided: {given.removeprefix('Bearer ')}", "invalid_api_key")
        fault = o.always or self._draw()
        if fault:
            s.faults[fault] = s.faults.get(fault, 0) + 1
        request = orjson.loads(body)
        complaint = self._complaint(request)
        if complaint:
            return self._error(400, complaint, None)
        if fault and fault not in CONTENT_FAULTS and fault != "half":
            return await self._fault(fault)
        completion = await self._completion(request, fault)
        s.answered += 1
        s.repeated += digest in self.done
        self.done.add(digest)
        s.prompt_tokens += completion["usage"]["prompt_tokens"]
        s.completion_tokens += completion["usage"]["completion_tokens"]
        return 200, {}, orjson.dumps(completion), "half" if fault == "half" else None

    def _draw(self) -> str | None:
        at = self.random.random()
        for fault, rate in self.options.faults.items():
            at -= rate
            if at < 0:
                return fault
        return None

    def _complaint(self, request: dict[str, Any]) -> str | None:
        o = self.options
        if request.get("model") != o.model:
            return None  # _completion answers 404
        form = request.get("response_format", {}).get("type")
        if form and form not in o.structured:
            return f"response_format type {form!r} is not supported"
        if request.get("top_logprobs", 0) > o.top_logprobs and o.strict:
            return (
                "logprobs are not supported" if not o.top_logprobs else f"top_logprobs must be at most {o.top_logprobs}"
            )
        if not o.continues and "continue_final_message" in request:
            return "Unrecognized request argument supplied: continue_final_message"
        for name in ("max_tokens", "max_completion_tokens"):
            if name in request and name != o.max_tokens_field:
                return f"Unsupported parameter: {name!r}. Use {o.max_tokens_field!r} instead."
        return None

    async def _fault(self, fault: str) -> tuple[int, dict[str, str], bytes, str | None]:
        if fault == "stall":
            await asyncio.sleep(3600)
        if fault == "drop":
            return 200, {}, b"", "drop"
        if fault == "html":
            return 200, {"content-type": "text/html"}, b"<html><body>Welcome to the proxy</body></html>", None
        if fault == "empty_body":
            return 200, {}, b"", None
        if fault == "null_body":
            return 200, {}, b"null", None
        if fault == "429_after":
            return self._error(429, "slow down", "rate_limit_exceeded", {"retry-after": self.options.retry_after})
        if fault == "quota":
            return self._error(429, "You exceeded your current quota, please check your plan", "insufficient_quota")
        if fault == "day":
            return self._error(429, "Rate limit exceeded: free-models-per-day. Add 10 credits", None)
        if fault == "filter":
            return self._error(400, "The response was filtered", "content_filter")
        if fault == "context":
            return self._error(400, "This model's maximum context length is 8192 tokens", "context_length_exceeded")
        return self._error(int(fault), f"planted {fault}", None)

    async def _completion(self, request: dict[str, Any], fault: str | None) -> dict[str, Any]:
        messages = tuple((m["role"], m["content"]) for m in request["messages"])
        if request.get("continue_final_message"):
            messages = messages[:-1]
        asked = ChatRequest(
            messages,
            max_tokens=request.get("max_tokens") or request.get("max_completion_tokens") or 16,
            top_logprobs=request.get("top_logprobs", 0),
            json_schema={"any": True} if any(map(_asks_for_rules, messages)) else None,
        )
        made = await self.fake.send(asked)
        text, refusal = made.text, None
        if asked.json_schema and self.options.sql:
            written = orjson.loads(text)
            first = hashlib.blake2b(messages[-1][1].encode(), digest_size=1).digest()[0]
            for i, rule in enumerate(written["rules"][: len(self.options.sql)]):
                rule["sql"] = self.options.sql[(first + i) % len(self.options.sql)]
            text = orjson.dumps(written).decode()
        top = made.logprobs[0] if made.logprobs and self.options.top_logprobs else ()
        if self.options.wordy and not request.get("continue_final_message"):
            text, top = "The", (("The", -0.1), *((str(digit), -6.0) for digit in range(6))) if top else ()
        prompt, answered = made.prompt_tokens, made.completion_tokens
        finish: str = "stop"
        content: str | None = text
        if fault in CONTENT_FAULTS - {"wrong_model"}:
            top = ()
            content = {
                "empty": "",
                "null": None,
                "prose": "It is 4 out of 5, I think.",
                "refusal": None,
                "range": "9",
                "whitespace": " \n \n",
            }[fault]
            refusal = "I cannot help with that." if fault == "refusal" else None
            finish = "length" if fault == "whitespace" else "stop"
        logprobs = None
        if top:
            entries = [
                {"token": t, "logprob": p, "bytes": None}
                for t, p in sorted(top, key=lambda pair: -pair[1])[: request.get("top_logprobs", 0)]
            ]
            logprobs = {"content": [{**entries[0], "top_logprobs": entries}]} if entries else None
        return {
            "id": "x", "object": "chat.completion", "created": 0,
            "model": "another-model" if fault == "wrong_model" else request["model"],
            "choices": [{"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": content, "refusal": refusal}, "logprobs": logprobs}],
            "usage": {"prompt_tokens": prompt, "completion_tokens": answered, "total_tokens": prompt + answered, "prompt_tokens_details": {"cached_tokens": 0}},
        }  # fmt: skip

    def _error(
        self, status: int, message: str, code: str | None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes, str | None]:
        return status, headers or {}, orjson.dumps({"error": {"message": message, "type": "x", "code": code}}), None


def _asks_for_rules(message: tuple[str, str]) -> bool:
    return message[0] == "user" and "JSON object" in message[1].rpartition(" END OF DOCUMENT")[2]


class Connection(asyncio.Protocol):
    """Requests come one after another; each is answered before the next is read."""

    def __init__(self, models: list[Model]) -> None:
        self.models, self.buffer, self.task = models, bytearray(), None

    @property
    def model(self) -> Model:
        return self.models[-1]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._next()

    def _next(self) -> None:
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or (self.task is not None and not self.task.done()):
            return
        first, *lines = bytes(self.buffer[:end]).decode("latin-1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines)}
        stop = end + 4 + int(headers.get("content-length", 0))
        if len(self.buffer) < stop:
            return
        body = bytes(self.buffer[end + 4 : stop])
        del self.buffer[:stop]
        method, path, _ = first.split(" ", 2)
        self.task = asyncio.get_running_loop().create_task(self._serve(method, path, headers, body))
        self.task.add_done_callback(lambda _: self._next())

    async def _serve(self, method: str, path: str, headers: dict[str, str], body: bytes) -> None:
        model = self.model
        if path == "/_stats":
            self._write(200, {}, orjson.dumps(asdict(model.stats)))
        elif path == "/_set":
            model.change(orjson.loads(body))
            self._write(200, {}, b"{}")
        elif path == "/_start":
            self.models[:] = [Model(Options(**orjson.loads(body)))]
            self._write(200, {}, b"{}")
        elif path == "/v1/models":
            self._write(
                200,
                {},
                orjson.dumps(
                    {
                        "object": "list",
                        "data": [
                            {"id": model.options.model, "object": "model", "max_model_len": model.options.context}
                        ],
                    }
                ),
            )
        elif path != "/v1/chat/completions":
            model.stats.requests += 1
            self._write(404, {}, b'{"detail": "Not Found"}')
        elif not model.options.canned and orjson.loads(body).get("model") != model.options.model:
            model.stats.requests += 1
            self._write(404, {}, b'{"error": {"message": "The model does not exist", "code": "model_not_found"}}')
        else:
            status, more, answer, deed = await model.answer(body, headers)
            if deed == "drop":
                self.transport.abort()
            elif deed == "half":
                self._write(status, more, answer, half=True)
                self.transport.close()
            else:
                self._write(status, more, answer)

    def _write(self, status: int, headers: dict[str, str], body: bytes, *, half: bool = False) -> None:
        fields = {"content-type": "application/json", **headers}
        chunked = self.model.options.chunked and not half
        fields |= {"transfer-encoding": "chunked"} if chunked else {"content-length": str(len(body))}
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'X')}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in fields.items())
        if half:
            body = body[: len(body) // 2]
        elif chunked:
            parts = [body[i : i + 100] for i in range(0, len(body), 100)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in parts) + b"0\r\n\r\n"
        self.transport.write(head.encode() + b"\r\n" + body)


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--options", type=json.loads, default={}, help="JSON object of fields of Options")
    parser.add_argument("--faults", type=json.loads, default={})
    parser.add_argument("--latency", type=float, default=0.0)
    given = parser.parse_args()
    models = [Model(Options(**{"faults": given.faults, "latency": given.latency, **given.options}))]
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(models), "127.0.0.1", given.port, backlog=1024
    )
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
