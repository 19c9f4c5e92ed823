# Two commands carry the project: `make run` and `make test`. The rest are their parts.
# Needs Python 3.11 or newer and make; everything else goes into .venv from the hash-locked requirements.

PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$python" && break; done)
PIP := .venv/bin/python -m pip install -q --disable-pip-version-check --require-hashes
LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url

# The stamps carry the locks' checksums: warm starts install nothing, a changed lock installs by itself.
RUNTIME := .venv/runtime-$(shell cksum < requirements.txt | cut -d ' ' -f 1)
DEV := .venv/dev-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d ' ' -f 1)

# A .venv whose Python has gone, or is too old, or was never finished, is made anew.
WHOLE := $(shell .venv/bin/python -c 'import sys, pip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || rm -rf .venv)

.PHONY: help run demo test test-fast check format bench chaos screenshots sabotage lock install clean
.DEFAULT_GOAL := help

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /\1|/p' Makefile | awk -F '|' '{ printf "make %-12s %s\n", $$1, $$2 }'

run: $(RUNTIME) ## the server, on SQLite in data/; PORT HOST DATABASE_URL REDIS_URL DEMO=1
	@exec .venv/bin/python manage.py serve $(if $(filter-out 0,$(DEMO)),--demo)

demo: $(RUNTIME) ## the server with a believable fleet that moves
	@exec .venv/bin/python manage.py serve --demo

test: $(DEV) ## everything a contributor must pass, browser and PostgreSQL included
	@.venv/bin/python tests/stages.py all

test-fast: $(DEV) ## lint and the unit tests on SQLite, under a minute
	@.venv/bin/python tests/stages.py fast

check: $(DEV) ## lint, format, types, migrations, system checks
	@.venv/bin/python tests/stages.py check

format: $(DEV) ## rewrite the code the way `make check` wants it
	@.venv/bin/ruff check --fix-only --quiet .
	@.venv/bin/ruff format --quiet .
	@.venv/bin/djade --target-version 5.2 $$(find templates -name '*.html') || true

bench: $(DEV) ## the figures of docs/scaling.md, measured here
	@.venv/bin/python tests/bench/run.py $(ARGS)

chaos: $(DEV) ## races and faults with real processes, the long way
	@.venv/bin/python tests/stages.py chaos

screenshots: $(DEV) ## pictures of every page, light, dark and phone, in screenshots/
	@.venv/bin/python tests/e2e/screenshots.py $(ARGS)

sabotage: $(DEV) ## breaks one line at a time and proves that a named test notices
	@.venv/bin/python tests/sabotage.py $(ARGS)

lock: $(DEV) ## new hash locks from requirements*.in; make lock ARGS=--upgrade
	$(LOCK) $(ARGS) requirements.in -o requirements.txt
	$(LOCK) $(ARGS) requirements-dev.in -o requirements-dev.txt

install: $(DEV) ## .venv with all that running and testing need

clean: ## forget .venv and caches; data/ stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis staticfiles

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "Mission Control needs Python 3.11 or newer on PATH." >&2; exit 1; }
	@echo "Making .venv with $(PYTHON) …"
	@$(PYTHON) -m venv .venv || { rm -rf .venv; \
		echo "$(PYTHON) cannot make a virtualenv: install its venv module (Debian: apt-get install python3-venv)." >&2; \
		exit 1; }

$(RUNTIME): | .venv/bin/python
	@echo "Installing what the server needs …"
	@$(PIP) -r requirements.txt
	@rm -f .venv/runtime-* && touch $@

$(DEV): | .venv/bin/python
	@echo "Installing what the server and the tests need …"
	@$(PIP) -r requirements.txt -r requirements-dev.txt
	@rm -f .venv/dev-* .venv/runtime-* && touch $@ $(RUNTIME)
