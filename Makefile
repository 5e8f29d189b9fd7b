# `make demo` and `make test` need Python 3.11 or newer and a package index; they set up everything else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := $(VENV)/.installed

.PHONY: demo test test-slow test-peers lint bench clean

demo: $(SETUP)
	$(BIN)/ssl-sweep submit sweeps/demo.yaml

test: $(SETUP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test-slow: $(SETUP)
	$(BIN)/python -m pytest -m slow

test-peers: $(SETUP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	$(BIN)/python -m pytest tests/methods/test_lightly.py

lint: $(SETUP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports

# ARGS: what benchmarks/views.py takes, as the paths of real images
bench: $(SETUP)
	$(BIN)/python -m pip install --quiet --editable '.[dev,peers]'
	$(BIN)/python benchmarks/views.py $(ARGS)

$(SETUP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(SETUP)

clean:
	rm -rf $(VENV) runs
