"""vLLM in this process: one token out, the exact log-probabilities of a few ids, prefixes from its cache."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from rulesel.errors import ModelError
from rulesel.llm.redact import keys_kept_back
from rulesel.llm.tokens import Counters, NextToken
from rulesel.llm.vllm_setup import (
    import_vllm,
    keep_few_kernels,
    prepare_environment,
    quiet,
    stop_on_sigterm,
    uncompiled,
)
from rulesel.llm.weights import cache_bytes, context_of
from rulesel.records import Float64

CPU_BLOCK = 32
"""The smallest block of the CPU kernels; their default of 128 leaves short documents nothing to share."""


class Vllm:
    """A vLLM engine; opening it loads the weights.

    Engines do not give all memory back, so that one process should open one.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_tokens: int,
        dtype: str = "auto",
        cache_bytes: int | None = None,
        tensor_parallel: int = 1,
        eager: bool | None = None,
        exact: bool | None = None,
        arguments: dict[str, Any] | None = None,
    ) -> None:
        """Open the engine.

        Args:
            folder: weights, configuration and tokenizer.
            max_tokens: longest prompt, its one answer token included.
            dtype: "auto", "bfloat16", "float16" or "float32".
            cache_bytes: key-value cache on CPU, where vLLM would take 92 % of the memory; None is room for a few
                documents, at least 1 GiB. On GPU the cache is what `gpu_memory_utilization` leaves.
            tensor_parallel: GPUs to split the model over.
            eager: skip compilation; None is eager on CPU (ready in seconds instead of half a minute) alone.
            exact: ask for exact ids; None is wherever this vLLM can.
            arguments: further engine arguments, as vLLM names them.

        Raises:
            MissingExtra: vLLM is not installed.
            UsageError: the installation is broken, with its cure.
            ModelError: vLLM cannot load the model.
        """
        prepare_environment(tensor_parallel)
        vllm = import_vllm()
        on_cpu = vllm.platforms.current_platform.is_cpu()
        if on_cpu:
            keep_few_kernels()
        fields = getattr(vllm.SamplingParams, "__struct_fields__", ())
        self.exact = "logprob_token_ids" in fields if exact is None else exact
        self.engine_arguments = _arguments(folder, max_tokens, dtype, cache_bytes, tensor_parallel, eager, on_cpu) | (
            {} if self.exact else {"logprobs_mode": "processed_logprobs"}
        )
        self.engine_arguments |= arguments or {}
        self._sampling = vllm.SamplingParams
        self._structured = vllm.sampling_params.StructuredOutputsParams
        stop_on_sigterm()
        try:
            compiling = uncompiled() if self.engine_arguments["enforce_eager"] else nullcontext()
            with quiet(), compiling, keys_kept_back():
                self._llm: Any = vllm.LLM(str(folder), **self.engine_arguments)
        except Exception as error:
            raise ModelError(f"vLLM cannot load {folder}: {_last_line(error)}") from error
        self._prompt = self._cached = 0
        self._seconds = 0.0

    @property
    def counters(self) -> Counters:
        """What it was given so far."""
        return Counters(self._prompt, self._cached, self._seconds)

    @property
    def longest(self) -> int:
        """Tokens of prompt and answer together that it takes."""
        return int(self._llm.llm_engine.model_config.max_model_len)

    @property
    def capacity(self) -> int | None:
        """Tokens the prefix cache holds."""
        cache = self._llm.llm_engine.vllm_config.cache_config
        return int(cache.num_gpu_blocks * cache.block_size) if cache.num_gpu_blocks else None

    def next_token(self, prefixes: Sequence[list[int]], suffixes: Sequence[list[int]], ids: Sequence[int]) -> NextToken:
        """The next token after each of the n × R prompts, document-major so that a small cache is enough."""
        wanted = list(ids)
        asked = {"logprob_token_ids": wanted} if self.exact else {"allowed_token_ids": wanted, "logprobs": len(wanted)}
        outputs = self._generate([p + s for p in prefixes for s in suffixes], self._numbers(**asked))
        rows = [_row(output, wanted) for output in outputs]
        shape = (len(prefixes), len(suffixes))
        logprobs = np.array([row[0] for row in rows], dtype=np.float64).reshape(*shape, len(wanted))
        return NextToken(logprobs, np.array([row[1] for row in rows], dtype=np.int64).reshape(shape), self.exact)

    def surprise(self, prompts: Sequence[list[int]], spans: Sequence[tuple[int, int]]) -> Float64:
        """Mean negative log-likelihood of each span; leaves the prompts in the prefix cache.

        Never in one call with `next_token`: an engine that gets both kinds mixes them up.
        """
        outputs = self._generate(list(prompts), self._numbers(prompt_logprobs=0))
        found = np.full(len(prompts), np.nan)
        for i, (output, prompt, (start, stop)) in enumerate(zip(outputs, prompts, spans, strict=True)):
            each = [output.prompt_logprobs[t][prompt[t]].logprob for t in range(max(start, 1), stop)]
            found[i] = -math.fsum(each) / len(each) if each else math.nan
        return found

    def answer(self, prompts: Sequence[list[int]], wishes: Sequence[dict[str, Any]]) -> list[Any]:
        """VLLM's outputs for prompts of any kind, text included.

        Args:
            prompts: token ids.
            wishes: sampling parameters of each, as vLLM names them; `schema` is a JSON schema the answer must satisfy.
        """
        return self._generate(list(prompts), [self._wish(**wish) for wish in wishes])

    def _wish(self, *, schema: dict[str, Any] | None, **sampling: Any) -> Any:  # noqa: ANN401 - vLLM is untyped here
        held = {"structured_outputs": self._structured(json=schema)} if schema else {}
        return self._sampling(**sampling, **held)

    def forget(self) -> None:
        """Empty the prefix cache."""
        self._llm.reset_prefix_cache()

    def close(self) -> None:
        """Stop the engine and its workers; harmless when called twice."""
        llm, self._llm = self._llm, None
        if llm is None:
            return
        engine = getattr(llm, "llm_engine", None)
        for holder in (llm, engine, getattr(engine, "engine_core", None)):
            shutdown = getattr(holder, "shutdown", None)
            if callable(shutdown):
                shutdown()
                break
        del llm, engine
        gc.collect()

    def _numbers(self, **sampling: Any) -> Any:  # noqa: ANN401 - vLLM is untyped here
        return self._sampling(max_tokens=1, temperature=0.0, detokenize=False, **sampling)

    def _generate(self, prompts: list[list[int]], parameters: Any) -> list[Any]:  # noqa: ANN401 - vLLM is untyped here
        if not prompts:
            return []
        started = time.perf_counter()
        outputs: list[Any] = self._llm.generate([{"prompt_token_ids": p} for p in prompts], parameters, use_tqdm=False)
        self._seconds += time.perf_counter() - started
        self._prompt += sum(map(len, prompts))
        self._cached += sum(output.num_cached_tokens or 0 for output in outputs)
        return outputs


def _arguments(
    folder: Path,
    max_tokens: int,
    dtype: str,
    cache: int | None,
    tensor_parallel: int,
    eager: bool | None,  # noqa: FBT001 - as in the constructor
    on_cpu: bool,  # noqa: FBT001
) -> dict[str, Any]:
    context = context_of(folder)
    common = {
        "dtype": dtype,
        "max_model_len": min(max_tokens, context or max_tokens),
        "tensor_parallel_size": tensor_parallel,
        "enforce_eager": on_cpu if eager is None else eager,
        "enable_prefix_caching": True,
        "seed": 0,
    }
    if not on_cpu:
        return common | {"max_num_seqs": 256, "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.9}
    each = cache_bytes(folder) or 128 << 10
    return common | {
        "max_num_seqs": 64,
        "max_num_batched_tokens": 2048,
        "block_size": CPU_BLOCK,
        "kv_cache_memory_bytes": cache or max(1 << 30, 4 * max_tokens * each),
    }


def _row(output: Any, ids: list[int]) -> tuple[list[float], int]:  # noqa: ANN401 - vLLM is untyped here
    answer = output.outputs[0]
    found = answer.logprobs[0]
    return [found[i].logprob if i in found else math.nan for i in ids], int(answer.token_ids[0])


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1] if lines else error!r}"[:500]
