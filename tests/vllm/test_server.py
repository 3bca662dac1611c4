"""The same ratings from a vLLM server: by exact ids over HTTP, and through the chat rater as any user would ask it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from rulesel.llm.documents import prepare
from rulesel.llm.labels import DIGITS, expectation
from rulesel.llm.names import open_chat
from rulesel.prompts import load
from rulesel.raters import Lent, rater_for
from rulesel.raters.chat import question
from rulesel.records import Batch, Status


@pytest.fixture(scope="module")
def server(tiny):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    engine = ["--dtype", "float32", "--enforce-eager", "--block-size", "32", "--kv-cache-memory-bytes", str(32 << 20)]
    engine += ["--model", str(tiny), "--served-model-name", "tiny", "--max-model-len", "1800"]
    engine += ["--host", "127.0.0.1", "--port", str(port), "--uvicorn-log-level", "error"]
    with subprocess.Popen(
        [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *engine],
        env=os.environ | {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_HOST_IP": "127.0.0.1"},
        start_new_session=True,
    ) as process:
        try:
            for _ in range(240):
                assert process.poll() is None, "the server did not start"
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                    break
                except OSError:
                    time.sleep(1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def ask(server, path, body):
    request = urllib.request.Request(
        f"{server}/{path}", json.dumps({"model": "tiny"} | body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())


def test_exact_ids_over_http_are_those_of_this_process(server, rater, rate, batch, rules, lent):
    found = rate(rater, batch)
    opened = rater.open()
    values = prepare(opened.split, batch, lent.secret, budget=opened.budget, pad=False).values
    ids = [i for variant in opened.variants for i in variant]
    for i in (0, 1, 3, 4, 5):
        for j, rule in enumerate(rules):
            turns = load("rate_rule@1").messages(**values[i], **question(rule))
            answer = ask(
                server,
                "chat/completions",
                {
                    "messages": [{"role": role, "content": content} for role, content in turns],
                    "max_tokens": 1,
                    "temperature": 0,
                    "logprobs": True,
                    "top_logprobs": len(ids),
                    "logprob_token_ids": ids,
                    "return_tokens_as_token_ids": True,
                },
            )
            top = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
            said = {int(t["token"].removeprefix("token_id:")): t["logprob"] for t in top}
            value, mass = expectation([(d, said[k]) for d, k in zip(DIGITS, ids, strict=True)], DIGITS)
            assert found.mass[i, j] == pytest.approx(mass, abs=1e-4)
            if found.status[i, j] == Status.ok:
                degree = 1 - value / 5 if rule.polarity == "negative" else value / 5
                assert found.values[i, j] == pytest.approx(degree, abs=1e-4)


def test_the_chat_rater_asks_the_server_the_same_and_reads_the_same(server, rater, rate, batch, rules, lent):
    """Its twenty likeliest tokens leave out digits that hardly count."""
    whole = [i for i in range(len(batch)) if i != 3]  # it cuts by characters, not by tokens
    some = Batch(
        [batch.hashes[i] for i in whole], [batch.prompts[i] for i in whole], [batch.responses[i] for i in whole]
    )
    chat = rater_for(f"{server}#tiny")
    ours = rate(rater, some)
    client = open_chat(f"{server}#tiny")
    try:
        (theirs,) = chat.rate([some], rules, Lent(lent.secret, lambda name: client))
    finally:
        client.close()
    both = (ours.status == Status.ok) & (theirs.status == Status.ok)
    assert both.sum() >= 0.98 * (ours.status == Status.ok).sum()
    np.testing.assert_allclose(theirs.values[both], ours.values[both], atol=0.01)
    np.testing.assert_array_equal(theirs.flags, ours.flags)
