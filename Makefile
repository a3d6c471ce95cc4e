# Two commands need nothing but python3 >= 3.11 with venv: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.PHONY: demo test bench docs dist clean

demo: .venv/installed
	$(BIN)/ddgan train --preset digits_quick --out runs/demo --overwrite

# A process for each core with one thread: nearly all tests are too small to be divided otherwise.
test: .venv/installed-dev
	$(BIN)/ruff check src tests benchmarks examples docs notebooks
	$(BIN)/ruff format --check src tests benchmarks examples docs notebooks
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses auto --maxprocesses 8 --dist worksteal

# How fast this machine samples, runs exports, trains, resamples, loads and scores: a table each, and runs/bench/*.json.
bench: .venv/installed-dev
	for name in sampling export training resample loader metrics start; do \
		$(BIN)/python -m benchmarks.$$name --out runs/bench/$$name.json || exit 1; \
	done
	$(BIN)/python -m benchmarks.sampling --scaling --out runs/bench/scaling.json

# The wheel and the source distribution, as they are published.
dist: .venv/installed-dev
	rm -rf dist
	$(BIN)/python -m build
	$(BIN)/python -m twine check --strict dist/*

# The documentation, as a static site in site/ that any file server can serve.
docs: .venv/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	$(BIN)/python docs/check_site.py site

# The environment is made again only when what it is made from changes; the tests need more than the demo.
.venv/installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) .
	touch $@

.venv/installed-dev: .venv/installed
	$(PIP) '.[dev]'
	touch $@

.venv/installed-docs: .venv/installed
	$(PIP) '.[docs]'
	touch $@

clean:
	rm -rf .venv runs site dist build .mypy_cache .pytest_cache .ruff_cache
