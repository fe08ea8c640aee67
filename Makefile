# Workbench. `make` lists the commands. Needs make, bash and Python 3.11 or 3.12; nothing is compiled.
# Uses uv when it is on the PATH (half a minute to install), otherwise venv and pip (several minutes).
# Choose an interpreter with `make demo PYTHON=python3.12`.

SHELL := bash
VENV  := .venv
BIN   := $(VENV)/bin
# written last, so an interrupted installation starts again where it stopped
STAMP := $(VENV)/.installed
FITS  := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))

.DEFAULT_GOAL := help
.PHONY: help venv demo test bench lint format lab lock clean

help:  ## list these commands
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## */|/' | awk -F'|' '{ printf "make %-8s %s\n", $$1, $$2 }'

venv: $(STAMP)  ## install the locked packages and this package into .venv

demo: $(STAMP)  ## from nothing to paper orders and a report
	@$(BIN)/workbench demo

test: $(STAMP)  ## every check: style, types, imports, tests, notebooks
	@$(BIN)/python -m compileall -q src tests  # the tests start many processes, and some environments keep no bytecode
	@echo "== style (ruff) =="
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "some files are not formatted: make format"; exit 1; }
	@echo "== types (mypy) =="
	@$(BIN)/mypy --no-error-summary
	@echo "== who may import whom (import-linter) =="
	@$(BIN)/lint-imports --no-logo --no-cache
	@echo "== tests, doctests and notebooks (pytest) =="
	@$(BIN)/python -m pytest --quiet --numprocesses 2 --dist loadfile

bench: $(STAMP)  ## measure against the bars; one only: make bench NAME=cli
	@$(BIN)/python benchmarks/run.py $(if $(NAME),--name "$(NAME)")

lint: $(STAMP)  ## style, types and imports only
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

format: $(STAMP)  ## put the code into the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lab: $(STAMP)  ## open JupyterLab on the notebooks
	@$(BIN)/workbench lab

lock:  ## compile requirements.lock again (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv on the PATH" >&2; exit 1; }
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --only-binary :all: --quiet --output-file requirements.lock

clean:  ## remove .venv and caches; data/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis benchmarks/latest.json
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@set -euo pipefail; \
	python=; \
	for name in $(if $(PYTHON),"$(PYTHON)",python3 python3.12 python3.11 python); do \
		if "$$name" -c '$(FITS)' >/dev/null 2>&1; then \
			python=$$("$$name" -c 'import sys; print(sys.executable)'); break; \
		fi; \
	done; \
	uv=; if command -v uv >/dev/null 2>&1; then uv=uv; fi; \
	if [ -z "$$python" ] && { [ -z "$$uv" ] || [ -n "$(PYTHON)" ]; }; then \
		echo "Workbench needs Python 3.11 or 3.12$(if $(PYTHON),; $(PYTHON) is not one)." >&2; \
		echo "Install one, or name it: make $(or $(MAKECMDGOALS),venv) PYTHON=/path/to/python3.12" >&2; exit 1; \
	fi; \
	rm -f $(STAMP); \
	if ! $(BIN)/python -c '$(FITS)' >/dev/null 2>&1; then \
		rm -rf $(VENV); \
		if [ -n "$$uv" ]; then uv venv --quiet --python "$${python:-3.12}" $(VENV); \
		elif ! "$$python" -m venv $(VENV); then \
			rm -rf $(VENV); \
			echo "$$python -m venv failed: on Debian and Ubuntu, install python3-venv" >&2; exit 1; \
		fi; \
	fi; \
	total=$$(grep -c '^[a-z0-9]' requirements.lock); \
	if [ -n "$$uv" ]; then \
		echo "Installing up to $$total packages into $(VENV) with uv (3 GB)"; \
		uv pip sync --quiet --python $(BIN)/python --require-hashes --only-binary :all: --compile-bytecode requirements.lock; \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --offline --editable .; \
	else \
		echo "Installing up to $$total packages into $(VENV) with pip (3 GB, several minutes)"; \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null; \
		$(BIN)/python -m pip install --disable-pip-version-check --no-input --progress-bar off --require-hashes \
			--no-deps --only-binary :all: -r requirements.lock 2>$(VENV)/install.log \
			| awk '/^Collecting / { n += 1; if (n % 25 == 0) { print "  " n " downloaded"; fflush() } } \
			       /^Installing collected/ { print "  unpacking"; fflush() }' \
			|| { grep -v '^WARNING' $(VENV)/install.log >&2; exit 1; }; \
		$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .; \
	fi; \
	touch $(STAMP)
