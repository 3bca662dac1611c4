# `make demo` and `make test` need nothing but Python >= 3.11; everything else they install into .venv here.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test lint unit bench clean
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

test: lint unit  ## everything CI runs

lint: .venv/.dev  ## style, types, layers
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: .venv/.dev  ## the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q

bench: .venv/.dev  ## the benchmarks of evals/README.md
	for script in evals/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .venv-vllm demo-out build dist
