# The commands of this repository. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
LINT := .venv-lint/bin
PYTHON_SOURCES := layers/cold_transfer cold_transfer_cli local tools benchmarks tests
LAYER := layers/cold_transfer/requirements
READY := .venv/.requirements.sha256

export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## Show this list
	@echo 'plivo-cold-transfer: actions on live Plivo calls, each sent at most once'
	@echo
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make test PYTEST_ARGS="tests/unit -k plivo"     run some of the tests'
	@echo '  PLIVO_BASE_URL=http://127.0.0.1:8080 make up    use this Plivo instead of the simulator'

.PHONY: run
run: venv ## Demo: deploy locally, send a webhook, its retry and an event, show the result
	@$(BIN)/python -m local run

.PHONY: up
up: venv ## Start the local stack and keep it running (.local/stack.json describes it)
	@$(BIN)/python -m local up

.PHONY: down
down: ## Stop the local stack, and anything that an interrupted run left behind
	@if [ -f $(READY) ]; then $(BIN)/python -m local down; else echo 'nothing was running'; fi

.PHONY: console
console: venv ## Open the web console of the stack that make up started
	@$(BIN)/python -m local console

.PHONY: test
test: venv build ## Run all tests
ifdef PYTEST_ARGS
	@$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	@# More processes than two cores: many tests wait.
	@$(BIN)/python -m pytest -q -n 4 --dist loadfile tests \
	  --ignore tests/system --ignore tests/sam_local
	@# tests/system/conftest.py says which tests stay together.
	@$(BIN)/python -m pytest -q -n 3 tests/system
	@# One at a time: they fill both cores with containers.
	@$(BIN)/python -m pytest -q tests/sam_local
endif

.PHONY: explore
explore: venv ## Run the long form of tests/explorer: 200,000 random runs, every interleaving of two
	@PYTHONPATH=layers/cold_transfer:. $(BIN)/python -m tests.explorer $(EXPLORE_ARGS)

.PHONY: matrix
matrix: venv ## Run every cause x both entry points x four situations; writes docs/fault-matrix.md
	@$(BIN)/python -m tests.matrix

.PHONY: mutation
mutation: venv ## Remove each guard of at-most-once in turn, and check that a test fails
	@$(BIN)/python -m tests.mutation.guards

.PHONY: fuzz
fuzz: venv venv-fuzz build ## Fuzz each target with 100,000 inputs, guided by coverage
	@.venv-fuzz/bin/python -m tests.fuzz
	@HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --timeout 3600 tests/fuzz \
	  tests/unit/auth/test_authentication_fuzz.py tests/unit/entrypoints/test_contract_fuzz.py \
	  tests/system/test_openapi.py $(PYTEST_ARGS)

.PHONY: build
build: venv ## Build the functions and the layer with sam build
	@$(BIN)/python -m local build

# STACK= and CONFIG_ENV= choose the stack; DEPLOY_ARGS and DESTROY_ARGS take further options.
CHOSEN = $(if $(STACK),--stack $(STACK)) $(if $(CONFIG_ENV),--config-env $(CONFIG_ENV))

.PHONY: deploy
deploy: venv ## Deploy or update on AWS: STACK=, CONFIG_ENV=, DEPLOY_ARGS="--region eu-west-1"
	@$(BIN)/python -m tools.deploy $(CHOSEN) $(DEPLOY_ARGS)

.PHONY: destroy
destroy: venv ## Delete a deployed stack: STACK=, CONFIG_ENV=, DESTROY_ARGS=
	@$(BIN)/python -m tools.destroy $(CHOSEN) $(DESTROY_ARGS)

.PHONY: lint
lint: venv venv-lint ## Check formatting, style, types, generated documents and the template
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict $(PYTHON_SOURCES)
	@# Every function's module is named app, so each is checked by itself.
	@for function in functions/*/; do $(BIN)/mypy --strict "$$function"; done
	@$(BIN)/python -m tools.checks
	@# What ships in the layer, and under which licences: pyproject.toml has those that may ship.
	@$(LINT)/pip-licenses --python $(BIN)/python --packages $$(sed -n 's/==.*//p' $(LAYER).txt)
	@$(BIN)/python -m tools.generate --check
	@AWS_DEFAULT_REGION=us-east-1 $(BIN)/sam validate --lint
	@# Their rules are in .cfnlintrc and .checkov.yaml.
	@$(LINT)/cfn-lint
	@$(LINT)/checkov --config-file .checkov.yaml

.PHONY: generate
generate: venv ## Write the generated documents: openapi.json, cli.md, tables of costs and throughput
	@$(BIN)/python -m tools.generate

.PHONY: console-pictures
console-pictures: venv build ## Make docs/console-*.png, screenshots of the console (needs Chromium)
	@CONSOLE_PICTURES=docs $(BIN)/python -m pytest -q tests/system/test_console.py -k pictures

.PHONY: format
format: venv ## Format the Python files
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

.PHONY: bench
bench: venv build ## Measure speed and size against peers: BENCH_ARGS="--json FILE --runs N"
	@# A peer that cannot be installed is reported in the table.
	@$(MAKE) --no-print-directory venv-peers || true
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: bench-check
bench-check: venv build ## Fail on a regression: a short form of bench, with wide margins
	@$(BIN)/python -m benchmarks --check $(BENCH_ARGS)

.PHONY: bench-docs
bench-docs: ## Run bench, and update docs/performance.md and its picture
	@$(MAKE) --no-print-directory bench BENCH_ARGS="--docs $(BENCH_ARGS)"
	@$(MAKE) --no-print-directory plots

.PHONY: plots
plots: venv-peers ## Draw the pictures in docs/performance.md and docs/throughput.md from their tables
	@.venv-peers/bin/python -m benchmarks.plots

.PHONY: load
load: venv ## Run mixed traffic with an audit, then 10,000 invocations of one worker (minutes)
	@$(BIN)/python -m benchmarks.load $(LOAD_ARGS)

.PHONY: lock
lock: venv ## Pin the newest compatible versions, with hashes
	@export UV_CUSTOM_COMPILE_COMMAND='make lock'; \
	pin() { $(BIN)/uv pip compile --quiet --upgrade --python-version 3.13 --universal \
	  --generate-hashes --no-header --no-emit-index-url "$$@"; }; \
	pin requirements/dev.in $(LAYER).in -o requirements/dev.txt; \
	: the layer ships the versions that the tests use; \
	pin --constraint requirements/dev.txt $(LAYER).in -o $(LAYER).txt; \
	pin --constraint requirements/dev.txt requirements/fuzz.in $(LAYER).in -o requirements/fuzz.txt; \
	pin requirements/lint.in -o requirements/lint.txt; \
	pin requirements/powertools-stack.in -o requirements/powertools-stack.txt; \
	pin requirements/peers.in -o requirements/peers.txt

.PHONY: clean
clean: down ## Stop the stack and remove everything in .gitignore, including files with secrets
	@rm -rf .aws-sam .local .venv .venv-* .mypy_cache .pytest_cache .ruff_cache .hypothesis build *.egg-info
	@rm -f .coverage clients.json plivo.json report.json
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: venv
venv:
	@$(PYTHON) tools/setup.py dev

.PHONY: venv-lint
venv-lint:
	@$(PYTHON) tools/setup.py lint

.PHONY: venv-fuzz
venv-fuzz:
	@$(PYTHON) tools/setup.py fuzz

.PHONY: venv-peers
venv-peers:
	@$(PYTHON) tools/setup.py peers
