# Daily work in a clone. Nothing here deletes an environment or installs a system package.
#   make setup        an environment in .venv with everything for development (again: brings it up to date)
#   make lint types   style, the law of imports, types: what an editor should show
#   make test-fast    the tests that train nothing and start no process: about a minute
#   make format       mend style where that can be done by machine
#   make test         all tests; those of pages need Chromium and are skipped without it
#   make ci           everything that must hold before a change lands, in an environment of its own
PYTHON ?= python3
ENVIRONMENT ?= .venv
BIN := $(ENVIRONMENT)/bin
# Workers of the tests; more than there are cores do not help.
WORKERS ?= 2
# `highest` or `lowest-direct`: the versions of what pyproject.toml asks for.
RESOLUTION ?= highest

.DEFAULT_GOAL := help
.PHONY: help setup sources lint format types test-fast test ci

help:
	@sed -n 's/^#   make/make/p' Makefile

setup: sources
	test -x $(BIN)/python || $(PYTHON) -m venv $(ENVIRONMENT)
ifeq ($(RESOLUTION),highest)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
else
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -m uv pip install --quiet --python $(BIN)/python --resolution $(RESOLUTION) --editable '.[dev]'
endif

# The import package as one folder, of links: four folders of the checkout are mapped into it, which neither type
# checkers nor editors can see in an editable installation.
sources:
	@mkdir -p .src/divsal_bench
	@find .src/divsal_bench -type l -delete
	@ln -s $(patsubst %,../../%,$(filter-out %/__pycache__,$(wildcard benchmark/*)) tasks baselines leaderboard) .src/divsal_bench

lint: sources
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	PYTHONPATH=.src $(BIN)/lint-imports --no-logo --cache-dir .src/cache

format:
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

types: sources
	MYPYPATH=.src $(BIN)/python -m mypy --cache-dir .src/mypy -p divsal_bench

test-fast:
	$(BIN)/python -m pytest -q -n $(WORKERS) -m fast

test:
	$(BIN)/python -m pytest -n $(WORKERS)

ci:
	.ci/run
