# `make app` and `make test` work on a fresh clone: they set up .venv by themselves.
# Another Python: make PYTHON=python3.12 test     Another port: make app PORT=8600

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?=
# Python only: ruff would format the examples in README.md, too.
PATHS := echoing_core ui pages app.py setup.py tests tools benchmarks docs/hooks.py
# A folder with PTB-XL at 100 Hz; empty, or where there is none, the demo model learns from
# simulated ECGs alone.
PTBXL ?= $(wildcard ../shared/data/ptbxl)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help app test test-slow test-browser fuzz bench lint format check docs demo-model echo-teacher lock licences setup

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# LOCKED=1 installs what requirements.lock lists, with hashes (Linux, x86-64, Python 3.11).
app: $(VENV)/.runtime$(if $(LOCKED),-locked) ## open the app in the browser, on this machine only
	$(BIN)/streamlit run app.py $(if $(PORT),--server.port $(PORT))

test: $(VENV)/.dev ## run the tests, without the browser and the slow ones
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: $(VENV)/.dev ## run the tests that take minutes
	$(BIN)/python -m pytest -n auto --dist load -m slow --timeout 1800

test-browser: $(VENV)/.dev ## run the tests that drive a real Chromium
	$(BIN)/python -m pytest -m browser

# SEED=n other inputs, ENGINE=atheris those that reach new lines (pip install atheris). What must not
# happen is kept in tests/fuzz/found.
fuzz: $(VENV)/.dev ## give changed files to every reader (MINUTES=10)
	$(BIN)/python -m tests.fuzz --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(ENGINE),--engine $(ENGINE))

# What is measured against what stands in docs/performance.md; a ratio counts, seconds are this machine's.
# HOURS=1 makes the long recording shorter.
bench: $(VENV)/.dev ## measure speed and memory, without data of others (HOURS=24)
	$(BIN)/python benchmarks/long_recordings.py --hours $(or $(HOURS),24)
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/loss_gram.py
	$(BIN)/python benchmarks/gate.py
	$(BIN)/python benchmarks/neighbours.py

lint: $(VENV)/.dev ## check style, format and types
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/mypy
	$(BIN)/mypy ui pages app.py

format: $(VENV)/.dev ## put the code into its one format
	$(BIN)/ruff check --fix $(PATHS)
	$(BIN)/ruff format $(PATHS)

check: lint test ## lint, then test

# A link that leads nowhere, a page that is in no menu and anything to be fetched end the build. The
# variable silences an advertisement.
docs: $(VENV)/.dev ## build the documentation site into site/; to read it: python -m http.server -d site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# ZSCORED=folder adds those of PTB-XL that lost their millivolts.
REAL = $(if $(PTBXL),--ptbxl $(PTBXL)) $(if $(ZSCORED),--zscored $(ZSCORED))

demo-model: $(VENV)/.runtime ## make the shipped recordings, model and index again (PTBXL=folder adds real ECGs)
	$(BIN)/echoing samples build
	$(BIN)/echoing train demo --out assets/models/demo $(REAL)
	$(BIN)/echoing evaluate leads $(if $(PTBXL),--ptbxl $(PTBXL)) --write
	$(BIN)/echoing evaluate distances --write
	$(if $(PTBXL),$(BIN)/echoing evaluate calibration $(REAL) --write)
	$(BIN)/echoing index build indexes/demo

echo-teacher: $(VENV)/.runtime ## train the shipped stand-in for ECHO-CLIP again; models trained with it then need it anew
	$(BIN)/echoing teacher train assets/teachers/stand_in --steps 200
	$(BIN)/echoing teacher measure --teacher assets/teachers/stand_in --studies 576 --write

lock: $(VENV)/.runtime ## write requirements.lock again, on the system that it is for
	$(BIN)/python tools/packages.py lock

licences: $(VENV)/.runtime ## list the licence of each package that the app needs
	$(BIN)/python tools/packages.py licences

setup: $(VENV)/.dev ## set up .venv for work on the code

# As pip does for what it installs by copying; where Python may write nothing by itself, every start
# would compile it again (0.5 s).
COMPILE := $(BIN)/python -m compileall -q echoing_core ui

# The stamps make a changed list of requirements install again, and nothing else.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, and $(PYTHON) is not. Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(BIN)/pip requirements.txt pyproject.toml
	@echo "Installing what the app needs into $(VENV); the first time takes a few minutes."
	$(PIP) -r requirements.txt
	$(PIP) --no-deps --editable .
	$(COMPILE)
	@touch $@

$(VENV)/.runtime-locked: $(BIN)/pip requirements.lock pyproject.toml
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	$(COMPILE)
	@touch $@ $(VENV)/.runtime

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt requirements-research.txt requirements-serve.txt requirements-ray.txt requirements-s3.txt
	$(PIP) -r requirements-dev.txt
	@touch $@
