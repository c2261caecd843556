# make demo   set-up, then a search and a final evaluation in about two minutes
# make test   set-up, then all tests
# make check  lint, formatting and types
# make chaos  the tests that kill real processes, N=10 times in a row; stops at the first red one
# make bench  the tables of the README (longer; see benchmarks/)
#
# The environment lives in .venv; PYTHON names the interpreter that makes it (3.11 or newer).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test check chaos bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "bloodsearch needs Python 3.11 or newer; say which: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

# The layout of an installation, as links: mypy finds bloodsearch.search and the others by path.
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

test: check
	$(BIN)/pytest -n 2 --dist loadgroup

N ?= 10
chaos: setup
	@for round in $$(seq $(N)); do \
	  started=$$(date +%s); \
	  $(BIN)/pytest -q -n 2 --dist loadgroup tests/chaos || { echo "round $$round of $(N): red" >&2; exit 1; }; \
	  echo "round $$round of $(N): green, $$(($$(date +%s) - started)) s"; \
	done

bench: setup
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .types build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
