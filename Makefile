# EchoingECG. `make` alone lists the targets; each one sets up .venv by itself.
#
#   PYTHON   the Python 3.11 (or newer) that makes .venv
#   PIP      how to call pip, for example with options of your own
#   PTBXL    a folder with PTB-XL at 100 Hz; without one, `make demo-model` uses simulated ECGs only
#   PORT     where `make app` listens

SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP ?= $(BIN)/python -m pip --disable-pip-version-check
PTBXL ?= $(wildcard ../shared/data/ptbxl)
PORT ?= 8501

# Stamps: a changed requirements file installs again, an unchanged one costs nothing.
RUNTIME := $(VENV)/.runtime-installed
DEV := $(VENV)/.dev-installed

DEFAULT_TESTS := not browser and not slow and not gpu and not network
PATHS := echoing_core ui pages app.py tests benchmarks

.PHONY: help setup app test test-browser lint format check demo-model

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "EchoingECG needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/python
	$(PIP) install --quiet -r requirements.txt
	$(PIP) install --quiet --no-deps -e .
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	$(PIP) install --quiet -r requirements-dev.txt
	@touch $@

setup: $(DEV) ## make .venv with everything for development

app: $(RUNTIME) ## open the app in the browser
	$(BIN)/echoing app --port $(PORT)

test: $(DEV) ## run the tests (no browser, no GPU, no network)
	$(BIN)/python -m pytest -m "$(DEFAULT_TESTS)"

test-browser: $(DEV) ## run the tests that drive a real Chromium
	$(BIN)/python -m pytest -m browser

lint: $(DEV) ## check style and types
	$(BIN)/ruff check $(PATHS)
	$(BIN)/ruff format --check $(PATHS)
	$(BIN)/mypy

format: $(DEV) ## rewrite the code in the project's style
	$(BIN)/ruff check --fix $(PATHS)
	$(BIN)/ruff format $(PATHS)

check: lint test ## lint and test

demo-model: $(RUNTIME) ## train the shipped model, then make its index and sample recordings
	$(BIN)/echoing samples build
	$(BIN)/echoing train demo --out assets/models/demo $(if $(PTBXL),--ptbxl $(PTBXL))
	$(BIN)/echoing index build indexes/demo
