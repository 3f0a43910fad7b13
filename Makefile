# `make run` sets everything up and starts Axon; `make test` sets everything up and runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := run.py ipc launcher server_proc ui_proc tests

.PHONY: run compiled test check cover bench bench-marks lock clean

run: $(VENV)/.installed compiled
	@$(BIN)/python run.py

# A start takes twice as long where the environment forbids Python to write bytecode.
compiled: $(VENV)/.installed
	@$(BIN)/python -m compileall -q ipc launcher server_proc ui_proc

# Two at a time, since most of a test's time is waiting for processes; ARGS=-n0 runs one after the other.
test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: $(VENV)/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

# Every branch of a pure module (they are listed in pyproject.toml) is taken by the tests of that module.
PURE_TESTS = $(BIN)/python -c 'import glob, re, tomllib; \
  pure = tomllib.load(open("pyproject.toml", "rb"))["tool"]["coverage"]["run"]["include"]; \
  print(*(name for path in pure for name in glob.glob(re.sub(r"(\w+)/(\w+)", r"tests/unit/\1/test_\2", path))))'
cover: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q --cov --cov-report=term-missing:skip-covered $$($(PURE_TESTS))

# Figures beside those of others, measured in one run: tables, and build/bench-*.json. ARGS=recovery runs one of
# channel, recovery and start.
bench: $(VENV)/.installed-bench compiled
	$(BIN)/python -m tests.bench $(ARGS)

# Marks over HTTP and to a ui: rates against an empty route, latencies, snapshots, growth; and build/bench-marks.json.
bench-marks: $(VENV)/.installed-dev compiled
	$(BIN)/python -m tests.bench.marks $(ARGS)

# Pins and hashes anew what requirements*.in ask for.
lock: $(VENV)/.installed-dev
	for name in requirements requirements-dev requirements-bench; do \
	  $(BIN)/uv pip compile $$name.in --universal --python-version 3.11 --upgrade --generate-hashes \
	    --no-emit-index-url --no-header --quiet -o $$name.txt; \
	done

clean:
	rm -rf $(VENV) build .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# As root, install Debian packages; otherwise say which command does. $(1): the packages, perhaps none.
define need_packages
	packages="$(1)"; \
	if [ -n "$$packages" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$packages; \
	  else \
	    echo "Some system packages are missing. Install them with: sudo apt-get install -y $$packages" >&2; \
	  fi; \
	fi
endef

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Axon needs Python 3.11 or later; $(PYTHON) is older. Try: make PYTHON=python3.12 run" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(call need_packages,python3-venv); }
	$(PYTHON) -m venv $(VENV)

# The locks are whole, so pip resolves nothing (--no-deps): it would ask for the newest coverage[toml], which a lock
# of an earlier day has not heard of, and stop.
$(VENV)/.installed: requirements.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements.txt
	@missing="$$($(BIN)/python -m ui_proc.qt_libraries --missing-packages)"; $(call need_packages,$$missing)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-dev.txt
	@touch $@

$(VENV)/.installed-bench: requirements-bench.txt $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r requirements-bench.txt
	@touch $@
