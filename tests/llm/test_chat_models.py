"""One suite for every way to reach a model: what a caller sees does not depend on it."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from rulesel.errors import ModelError
from rulesel.llm.base import ChatModel, ChatRequest, Completion, Failure
from rulesel.llm.labels import read_label
from rulesel.llm.names import open_chat
from rulesel.llm.sender import Limits
from rulesel.records import Status

LIMITS = Limits(concurrency=8, seconds=5.0, backoff=0.01)
RATING = "=== 0a START OF DOCUMENT\ntext {} planted=0.{}\n=== 0a END OF DOCUMENT\n\nOne digit from 0 to 5, please."

litellm = pytest.param(
    "litellm",
    marks=[
        pytest.mark.slow,  # to import it takes seconds
        pytest.mark.skipif(importlib.util.find_spec("litellm") is None, reason="litellm is not installed"),
    ],
)
quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::UserWarning")


@pytest.fixture
def model(
    request: pytest.FixtureRequest, serve: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Any]]:
    """Opens a model by the way the test is about; options are the server's."""
    opened: list[ChatModel] = []

    def make(**options: Any) -> Any:
        way = request.param
        if way == "fake":
            name = "fake:planted" + (",logprobs=0" if options.get("top_logprobs") == 0 else "")
        else:
            server = serve(**options)
            name = server.name
            if way == "litellm":
                monkeypatch.setenv("HOSTED_VLLM_API_BASE", server.base)
                monkeypatch.setenv("HOSTED_VLLM_API_KEY", "none")
                name = "hosted_vllm/m"
        opened.append(open_chat(name, limits=LIMITS, lean=way == "lean"))
        return opened[-1]

    yield make
    for chat in opened:
        chat.close()


ALL = pytest.mark.parametrize("model", ["fake", "lean", "sdk", litellm], indirect=True)
SERVED = pytest.mark.parametrize("model", ["lean", "sdk", litellm], indirect=True)
pytestmark = quiet


def ratings(n: int) -> list[ChatRequest]:
    return [
        ChatRequest((("system", "You rate."), ("user", RATING.format(i, i % 10))), max_tokens=1, top_logprobs=20)
        for i in range(n)
    ]


@ALL
@pytest.mark.slow
def test_every_request_gets_its_own_answer_in_order(model: Callable[..., Any]) -> None:
    chat = model()
    answers = list(chat.complete(ratings(40)))
    assert [type(a) for a in answers] == [Completion] * 40
    readings = [read_label(a) for a in answers]
    assert {r.status for r in readings} == {Status.ok}
    grades = [sum(r.value for r in readings[d::10]) / 4 for d in range(10)]
    assert grades[9] - grades[0] > 1.5, "the planted quality must show"


@ALL
def test_log_probabilities_and_tokens_are_counted(model: Callable[..., Any]) -> None:
    (answer,) = model().complete(ratings(1))
    assert isinstance(answer, Completion)
    assert len(answer.logprobs) == 1
    assert sum(math.exp(p) for _, p in answer.logprobs[0]) == pytest.approx(1.0, abs=1e-3)
    assert answer.prompt_tokens > 0
    assert answer.completion_tokens > 0
    assert not read_label(answer).sampled


@ALL
def test_without_log_probabilities_the_digit_is_sampled_and_says_so(model: Callable[..., Any]) -> None:
    for answer in model(top_logprobs=0).complete(ratings(5)):
        reading = read_label(answer)
        assert reading.status is Status.ok
        assert reading.sampled


@ALL
def test_the_same_again_gives_the_same_and_closing_twice_is_harmless(model: Callable[..., Any]) -> None:
    chat = model()
    one, two = list(chat.complete(ratings(5))), list(chat.complete(ratings(5)))
    assert [a.text for a in one] == [a.text for a in two]
    chat.close()
    chat.close()


@ALL
def test_the_identity_holds_neither_host_nor_key(model: Callable[..., Any]) -> None:
    assert "127.0.0.1" not in model().id
    assert "http" not in model().id


@ALL
def test_a_structured_answer_is_json(model: Callable[..., Any]) -> None:
    schema = {"type": "object", "properties": {"rules": {"type": "array"}}, "required": ["rules"]}
    request = ChatRequest(
        (("user", "Write 3 rules. Answer with one JSON object."),), max_tokens=2000, json_schema=schema
    )
    (answer,) = model().complete([request])
    assert isinstance(answer, Completion)
    assert answer.text.startswith('{"rules"')


@SERVED
def test_what_a_server_does_not_understand_is_found_out_once(
    model: Callable[..., Any], serve: Callable[..., Any]
) -> None:
    chat = model(top_logprobs=5, structured=[], max_tokens_field="max_completion_tokens")
    schema = {"type": "object"}
    requests = [
        *ratings(20),
        ChatRequest((("user", "Write 2 rules. JSON object."),), max_tokens=900, json_schema=schema),
    ]
    answers = list(chat.complete(requests))
    assert [type(a) for a in answers] == [Completion] * 21
    assert max(len(a.logprobs[0]) for a in answers[:20]) <= 5


@SERVED
@pytest.mark.parametrize("fault", ["429", "429_after", "500", "503", "drop", "half", "html", "empty_body", "null_body"])
def test_a_fault_that_passes_is_not_seen(model: Callable[..., Any], serve: Callable[..., Any], fault: str) -> None:
    answers = list(model(faults={fault: 0.3}, seed=5).complete(ratings(12)))
    assert [type(a) for a in answers] == [Completion] * 12


@SERVED
@pytest.mark.parametrize(
    ("fault", "message"),
    [("quota", "quota is used up"), ("401", "refuses access"), ("403", "refuses access"), ("404", "no such model")],
)
def test_a_fault_of_everybody_ends_at_once_with_one_line(model: Callable[..., Any], fault: str, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        list(model(always=fault).complete(ratings(50)))
    assert "\n" not in str(caught.value)


@SERVED
@pytest.mark.parametrize(("fault", "kind"), [("filter", "refused"), ("context", "http"), ("400", "http")])
def test_a_fault_of_one_request_ends_that_request_at_once(model: Callable[..., Any], fault: str, kind: str) -> None:
    answers = list(model(always=fault).complete(ratings(3)))
    assert [a.kind for a in answers if isinstance(a, Failure)] == [kind] * 3
