# One command each for the demo, the tests and the checks. All of them work on a bare clone.
#   make demo PYTHON=python3.12     another Python (3.11 or newer)
#   make tests ARGS="tests/cli -x"  some tests

# The first Python that is new enough; python3 where none is, so that the error can name it.
PYTHON ?= $(or $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done),python3)
VENV ?= .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test tests format format-check lint types clean

help:
	@echo "make demo          a real search on scikit-learn's digits, within three minutes"
	@echo "make test          format check, lint, types and tests, as in CI"
	@echo "make format        format the code"
	@echo "make lint|types|tests  one check"
	@echo "make clean         remove the virtual environment and caches"

demo: $(VENV)/.installed-demo
	rm -rf runs/demo
	$(BIN)/autoft search --config examples/digits.yaml --name demo --storage-path runs
	@echo
	@echo "The recipe is runs/demo/best_recipe.yaml. To look at it, and to replay it:"
	@echo "    $(BIN)/autoft best runs/demo"
	@echo "    $(BIN)/autoft train runs/demo/best_recipe.yaml --data digits"
	@echo "The same for your own pictures, one folder per class:"
	@echo "    $(BIN)/autoft search --model tf_efficientnet_lite0 --data FOLDER --time-budget 10m"

test: format-check lint types tests

format: $(VENV)/.installed-test
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

format-check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

tests: $(VENV)/.installed-test
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile $(ARGS)

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "autoft needs Python 3.11 or newer, $(PYTHON) is older or missing: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV) || \
		{ rm -rf $(VENV); echo "the virtual environment could not be made; on Debian: apt install python3-venv" >&2; exit 1; }

# A stamp per set of extras: nothing is installed again until pyproject.toml changes.
$(VENV)/.installed-%: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	@touch $@
