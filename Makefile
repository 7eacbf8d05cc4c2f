# Everything a person does here. `make` alone says what there is.

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
help: ## Show this
	@echo 'plivo-cold-transfer: cold transfers on live Plivo calls, at most once'
	@echo
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s%s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo '  make test PYTEST_ARGS="tests/unit -k plivo"     some tests'
	@echo '  PLIVO_BASE_URL=http://127.0.0.1:8080 make up    another Plivo than the simulator'

.PHONY: run
run: venv ## The main job, end to end, on a stack of its own: deploy, send, show, stop
	@$(BIN)/python -m local run

.PHONY: up
up: venv ## Start the local stack and keep it running (.local/stack.json describes it)
	@$(BIN)/python -m local up

.PHONY: down
down: ## Stop it, and whatever a killed run left behind
	@if [ -f $(READY) ]; then $(BIN)/python -m local down; else echo 'nothing was running'; fi

.PHONY: console
console: venv ## Open the page that shows the stack of make up: calls, requests, what Plivo received
	@$(BIN)/python -m local console

.PHONY: test
test: venv build ## All tests
ifdef PYTEST_ARGS
	@$(BIN)/python -m pytest $(PYTEST_ARGS)
else
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile tests \
	  --ignore tests/system --ignore tests/sam_local
	@# tests/system/conftest.py says which tests stay together.
	@$(BIN)/python -m pytest -q -n 2 tests/system
	@# One at a time: they fill both cores with containers.
	@$(BIN)/python -m pytest -q tests/sam_local
endif

.PHONY: explore
explore: venv ## The long form of tests/explorer: 200,000 random runs, every interleaving of two
	@PYTHONPATH=layers/cold_transfer:. $(BIN)/python -m tests.explorer $(EXPLORE_ARGS)

.PHONY: matrix
matrix: venv ## Every cause x both entry points x four situations, for real; writes docs/fault-matrix.md
	@$(BIN)/python -m tests.matrix

.PHONY: mutation
mutation: venv ## Remove each guard of at-most-once in turn: a test has to fail each time
	@$(BIN)/python -m tests.mutation.guards

.PHONY: fuzz
fuzz: venv venv-fuzz build ## The long form of fuzzing: 100,000 inputs a target, guided by coverage
	@.venv-fuzz/bin/python -m tests.fuzz
	@HYPOTHESIS_PROFILE=long $(BIN)/python -m pytest --timeout 3600 tests/fuzz \
	  tests/unit/auth/test_authentication_fuzz.py tests/unit/entrypoints/test_contract_fuzz.py \
	  tests/system/test_openapi.py $(PYTEST_ARGS)

.PHONY: build
build: venv ## Build functions and layer with sam build, into .aws-sam/build
	@$(BIN)/python -m local build

# STACK= and CONFIG_ENV= choose; DEPLOY_ARGS and DESTROY_ARGS take more, see --help of each.
CHOSEN = $(if $(STACK),--stack $(STACK)) $(if $(CONFIG_ENV),--config-env $(CONFIG_ENV))

.PHONY: deploy
deploy: venv ## To AWS, or an update: STACK=, CONFIG_ENV=, DEPLOY_ARGS="--region eu-west-1"
	@$(BIN)/python -m tools.deploy $(CHOSEN) $(DEPLOY_ARGS)

.PHONY: destroy
destroy: venv ## Delete a deployed stack: STACK=, CONFIG_ENV=, DESTROY_ARGS=
	@$(BIN)/python -m tools.destroy $(CHOSEN) $(DESTROY_ARGS)

.PHONY: lint
lint: venv venv-lint ## Formatting, style, types, template, security of the template
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
	@# What they check, and with which rules, stands in .cfnlintrc and .checkov.yaml.
	@$(LINT)/cfn-lint
	@$(LINT)/checkov --config-file .checkov.yaml

.PHONY: generate
generate: venv ## Write docs/openapi.json and the tables of costs and throughput from the code
	@$(BIN)/python -m tools.generate

.PHONY: console-pictures
console-pictures: venv build ## Take docs/console-*.png from a console in a browser (needs Chromium)
	@CONSOLE_PICTURES=docs $(BIN)/python -m pytest -q tests/system/test_console.py -k pictures

.PHONY: format
format: venv ## Rewrite the Python files as make lint wants them
	@$(BIN)/ruff check --fix --exit-zero .
	@$(BIN)/ruff format .

.PHONY: bench
bench: venv build ## Speed and size against peers of the same run: BENCH_ARGS="--json FILE --runs N"
	@# A peer that cannot be had here is a line of the table.
	@$(MAKE) --no-print-directory venv-peers || true
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: bench-check
bench-check: venv build ## The light form, with wide margins: fails on a regression
	@$(BIN)/python -m benchmarks --check $(BENCH_ARGS)

.PHONY: bench-docs
bench-docs: ## The same as bench, written into docs/performance.md, with its picture
	@$(MAKE) --no-print-directory bench BENCH_ARGS="--docs $(BENCH_ARGS)"
	@$(MAKE) --no-print-directory plots

.PHONY: plots
plots: venv-peers ## Draw the pictures of docs/performance.md and docs/throughput.md from their tables
	@.venv-peers/bin/python -m benchmarks.plots

.PHONY: load
load: venv ## Mixed traffic with an audit, 10,000 invocations of one worker (some minutes)
	@$(BIN)/python -m benchmarks.load $(LOAD_ARGS)

.PHONY: lock
lock: venv ## Pin the newest versions that fit, with hashes
	@export UV_CUSTOM_COMPILE_COMMAND='make lock'; \
	pin() { $(BIN)/uv pip compile --quiet --upgrade --python-version 3.13 --universal \
	  --generate-hashes --no-header --no-emit-index-url "$$@"; }; \
	pin requirements/dev.in $(LAYER).in -o requirements/dev.txt; \
	: what ships is what the tests ran with; \
	pin --constraint requirements/dev.txt $(LAYER).in -o $(LAYER).txt; \
	pin --constraint requirements/dev.txt requirements/fuzz.in $(LAYER).in -o requirements/fuzz.txt; \
	pin requirements/lint.in -o requirements/lint.txt; \
	pin requirements/powertools-stack.in -o requirements/powertools-stack.txt; \
	pin requirements/peers.in -o requirements/peers.txt

.PHONY: clean
clean: down ## Stop the stack and remove all that .gitignore names, files with secrets included
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
