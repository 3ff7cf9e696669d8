PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  \1\t\2/' | expand -t 12

setup: $(STAMP) ## install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: setup ## make a small world, pretrain on it, evaluate by every suite
	$(BIN)/cosmos prepare
	$(BIN)/cosmos pretrain --run demo
	$(BIN)/cosmos evaluate --run demo

test: check ## everything in check, and the tests that take minutes
	$(BIN)/pytest -q -n 2 -m slow

check: setup ## format, lint, types, import contracts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 -m "not slow"

bench: setup ## time and memory, ours beside the straightforward implementation
	$(BIN)/python benchmarks/step.py
	$(BIN)/python benchmarks/views.py
	$(BIN)/python benchmarks/retrieval.py
	$(BIN)/python benchmarks/segmentation.py

clean: ## remove what was made here: environment, data, runs, caches
	rm -rf $(VENV) data runs build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
