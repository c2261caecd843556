# make demo   run a small search and a final evaluation, in about two minutes
# make quick  run the fast tests, in under a minute
# make test   run lint, formatting, types and all tests, as CI does
# make check  run lint, formatting and types
# make chaos  run the tests that kill real processes N=10 times; stop at the first failure
# make gpu    run the checks of the CUDA path and print one table; without a CUDA device all are skipped
# make bench  run all benchmarks (hours) and keep their results in benchmarks/results/; the one of a CUDA device
#             is run by name: .venv/bin/python -m benchmarks gpu
# make docs   write the tables and the reference pages that are generated
# make pictures  draw the README's pictures of the terminal, the dashboard and the report; needs a Chromium
#
# Each target first creates the environment .venv. PYTHON names the interpreter for it (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo quick test check chaos gpu bench docs pictures clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt setup.py $(wildcard models/kernels/*.[ch])
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bloodsearch needs Python 3.11 or newer; say which: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# Links in the layout of an installation. With them mypy finds bloodsearch.search and the other packages.
.types/bloodsearch:
	@mkdir -p $@
	@for name in search models studies bloodsearch/__init__.py bloodsearch/__main__.py bloodsearch/py.typed; do \
	  ln -sfn "../../$$name" "$@/$$(basename $$name)"; \
	done

demo: setup
	$(BIN)/bloodsearch demo

check: setup .types/bloodsearch
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

quick: setup
	$(BIN)/pytest -q -n 2 --dist loadgroup -m "not slow"

test: check
	$(BIN)/pytest -n 2 --dist loadgroup --durations 30

N ?= 10
chaos: setup
	@for round in $$(seq $(N)); do \
	  started=$$(date +%s); \
	  $(BIN)/pytest -q -n 2 --dist loadgroup tests/chaos || { echo "round $$round of $(N): red" >&2; exit 1; }; \
	  echo "round $$round of $(N): green, $$(($$(date +%s) - started)) s"; \
	done

gpu: setup
	$(BIN)/pytest -q -m gpu tests/gpu

bench: setup
	$(BIN)/python -m benchmarks

docs: setup
	$(BIN)/python -m benchmarks readme
	$(BIN)/python -m benchmarks.reference

pictures: setup
	$(BIN)/python -m benchmarks.pictures docs/pictures

clean:
	rm -rf $(VENV) .types build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
