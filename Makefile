# `make run` and `make test` each install what they need; nothing else has to be there but Python.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
# An engine brings its packages: LAKEOPS_ENGINE=spark make run
LOCK := requirements$(if $(filter spark,$(LAKEOPS_ENGINE)),-spark).lock
RUNNING := $(VENV)/.running-$(shell cksum < $(LOCK) | cut -d' ' -f1)
TESTING := $(VENV)/.testing-$(shell cksum < requirements-dev.lock | cut -d' ' -f1)

.DEFAULT_GOAL := help
.PHONY: help install run ui test parity lint format bench browser lock clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(RUNNING) ## install what running needs into .venv

run: $(RUNNING) ## take the sample data from landing files to a monitored champion
	@$(BIN)/lakeops run

ui: $(RUNNING) ## open the Dagster UI on port 3000 and the MLflow UI on port 5000
	@$(BIN)/lakeops ui

test: $(TESTING) lint browser ## install everything and run all tests
	@$(BIN)/pytest -n 2 --dist loadfile

parity: $(TESTING) browser ## run the tests of all engines that `make test` runs on the laptop's alone
	@$(BIN)/pytest -n 2 --dist loadfile --all-engines -k spark

lint: $(TESTING) ## check style, types and the direction of imports
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(TESTING) ## format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: $(TESTING) ## run the benchmarks behind the figures in benchmarks/README.md
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

browser: ## make sure that the browser test has a browser
	@.ci/browser

lock: $(BIN)/uv ## resolve the dependencies again
	@$(BIN)/uv pip compile pyproject.toml --extra dev --extra spark --extra databricks \
		--universal --generate-hashes --python-version 3.11 --no-header --upgrade -q \
		-o requirements-dev.lock
	@for extra in "" spark databricks; do \
		$(BIN)/uv pip compile pyproject.toml $${extra:+--extra $$extra} --universal \
			--generate-hashes --python-version 3.11 --no-header -q -c requirements-dev.lock \
			-o requirements$${extra:+-$$extra}.lock || exit 1; done

clean: ## delete the environment and all local state
	rm -rf $(VENV) .lakeops
	find .dagster_home -mindepth 1 ! -name dagster.yaml -delete

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# Byte code is compiled here, once; without it every start of a process would pay for it.
$(RUNNING): $(BIN)/uv pyproject.toml setup.py
	@echo "installing into $(VENV)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r $(LOCK)
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@rm -f $(VENV)/.running-*; touch $@

$(TESTING): $(BIN)/uv pyproject.toml setup.py
	@echo "installing into $(VENV)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r requirements-dev.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@rm -f $(VENV)/.testing-* $(VENV)/.running-*; touch $@ $(RUNNING)
