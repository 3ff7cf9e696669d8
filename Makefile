PYTHON ?= python3
INSTALLER ?= uv
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed

.DEFAULT_GOAL := help
.PHONY: help setup supported install-with-uv install-with-pip demo test faults check bench serve serve-down dashboard slurm-up slurm-down clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

setup: $(STAMP) ## install everything into .venv with uv, or with pip: INSTALLER=pip; PYTHON=python3.12 names a Python

$(STAMP): pyproject.toml constraints.txt
	@$(MAKE) --no-print-directory supported
	$(PYTHON) -m venv $(VENV)
	@$(MAKE) --no-print-directory install-with-$(INSTALLER)
	touch $(STAMP)

supported:
	@test "$$(uname -s)" = Linux || { \
		echo "This software needs Linux; this system is $$(uname -s). macOS is not supported: nothing is tested there." \
			"On Windows, use WSL 2; elsewhere, a Linux container." >&2; exit 2; }
	@command -v $(PYTHON) >/dev/null || { \
		echo "There is no $(PYTHON). Install Python 3.11 or later, or name one: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$(PYTHON) is $$($(PYTHON) --version 2>&1); this software needs Python 3.11 or later." \
			"Name one: make setup PYTHON=/path/to/python3.11" >&2; exit 2; }

install-with-uv:
	$(BIN)/pip install --quiet --constraint constraints.txt uv && \
	$(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt --editable '.[dev]' || { \
		echo "uv did not install everything; pip may, in about four minutes: make setup INSTALLER=pip" >&2; exit 1; }

install-with-pip:
	$(BIN)/pip install --constraint constraints.txt --editable '.[dev]'

demo: setup ## the pipeline: make a small world, pretrain on it, evaluate by every suite, report
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro
	@echo "look at pipeline/report/report.html; dvc metrics show has the figures"

test: check ## everything in check, the tests that take minutes, and those on Slurm where there is one
	$(BIN)/pytest -q -n 3 --dist loadgroup -m "slow or slurm"

faults: setup ## damage, kill, fill disks: 3,000 tries; ARGS="--tries 300" for fewer (docs/faults.md)
	$(BIN)/python -m tests.faults $(ARGS)

check: setup ## format, lint, types, import contracts, fast tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -n 2 --dist worksteal --in-memory -m "not slow and not slurm"

bench: setup ## one table of time and memory, ours beside the straightforward implementation (docs/speed.md)
	$(BIN)/python benchmarks/table.py --json build/bench.json $(ARGS)

serve: setup ## a Prefect server with the flows and a worker, on this machine alone (docs/prefect.md)
	$(BIN)/python -m flows.server up

serve-down: ## end that worker and server; jobs go on
	$(BIN)/python -m flows.server down

dashboard: setup ## optuna-dashboard on the study of SWEEP, or of the newest sweep (docs/sweeps.md)
	$(BIN)/cosmos dashboard $(SWEEP)

slurm-up: ## a real two-node Slurm on this machine (Debian or Ubuntu, as root), for its tests and for trying
	bash tests/slurm/cluster.sh up

slurm-down: ## take that Slurm away again, with its jobs and accounts
	bash tests/slurm/cluster.sh down

clean: ## remove what was made here: environment, data, runs, caches
	rm -rf $(VENV) data runs build dvc_plots .prefect .dvc/cache .dvc/tmp $(addprefix pipeline/,data .data-* model model.run results report curves.csv) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
