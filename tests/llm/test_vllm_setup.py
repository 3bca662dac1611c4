"""What surrounds vLLM: a broken installation named with its cure, an environment that leaves the user's own alone."""

import json
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest

from rulesel.errors import UsageError
from rulesel.llm import vllm_setup
from rulesel.pipeline.doctor import examine, examine_model


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """A CPU torch with a CUDA torchvision, and a vLLM that would fail on it."""
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    (tmp_path / "vllm.py").write_text("raise AssertionError('imported though it cannot start')")
    torch = SimpleNamespace(version=SimpleNamespace(cuda=None), __spec__=ModuleSpec("torch", None))
    monkeypatch.setitem(sys.modules, "torch", torch)
    for name in ("torchvision", "vllm"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    return torch


def test_cuda_vision_on_a_cpu_torch_is_named_with_its_cure(broken):
    with pytest.raises(UsageError, match=r"CUDA builds and torch is a CPU build.*pip uninstall -y torchvision"):
        vllm_setup.import_vllm()
    (found,) = [finding for finding in examine() if finding.what == "vllm" and finding.state == "missing"]
    assert found.remedy == "pip uninstall -y torchvision torchaudio torchcodec"


def test_a_gpu_torch_is_not_suspected(broken):
    broken.version.cuda = "13.0"
    assert vllm_setup.fault() is None


def test_what_the_user_has_set_stays(monkeypatch):
    for key in vllm_setup.ENVIRONMENT:
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("VLLM_LOGGING_LEVEL", "DEBUG")
    vllm_setup.prepare_environment(tensor_parallel=2)
    assert vllm_setup.os.environ["VLLM_LOGGING_LEVEL"] == "DEBUG"
    assert vllm_setup.os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] == "0"
    assert "VLLM_HOST_IP" not in vllm_setup.os.environ, "several workers need the machine's own address"


def test_few_kernels_are_kept_whatever_vllm_asks_for_and_told_twice_once(monkeypatch):
    asked = []
    ops = ModuleType("vllm._custom_ops")
    ops.create_onednn_mm = lambda weight, size=128: asked.append((weight, size))
    monkeypatch.setattr(vllm_setup.importlib, "import_module", {"vllm._custom_ops": ops}.__getitem__)
    vllm_setup.keep_few_kernels()
    once = ops.create_onednn_mm
    vllm_setup.keep_few_kernels()
    assert ops.create_onednn_mm is once
    once("w", 32), once("w", 2), once("w")
    assert asked == [("w", vllm_setup.KERNELS), ("w", 2), ("w", vllm_setup.KERNELS)]
    del ops.create_onednn_mm
    vllm_setup.keep_few_kernels()


def test_a_model_that_is_not_there_is_one_failed_check(tmp_path):
    (check,) = examine_model(f"vllm:{tmp_path}")
    assert (check.state, check.what) == ("failed", "engine")
    assert "holds no model" in check.found


def test_a_folder_with_a_model_and_no_vllm_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 512}))
    (tmp_path / "model.safetensors").write_bytes(b"none")
    (check,) = examine_model(f"vllm:{tmp_path}")
    assert "pip install 'rulesel[vllm" in check.found
