# Everything a user types. Each target installs what it needs into .venv, once per change of requirements.lock.
PYTHON ?= python3
STATE_DIR ?= .local
LANDING ?=
SQL ?=
ARGS ?= --help
export STATE_DIR LANDING

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
UV := $(BIN)/uv
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header \
	--no-emit-index-url --no-emit-find-links pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help run up psql ingest dbt dg status docs test test-changed soak secrets compose-check aws-check lint format lock bench clean

help: ## List the targets; .venv/bin/hiring --help lists the commands that they call
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "make %-13s %s\n", $$1, $$2}'

run: $(INSTALLED) ## Load LANDING (or the sample), print both metrics of 2021 and the rejected records, stop
	@$(BIN)/hiring run

up: $(INSTALLED) ## Start Dagster, the API, Postgres and S3, and keep them until Ctrl-C
	@$(BIN)/hiring up

psql: $(INSTALLED) ## psql on the embedded server, to read; SQL='select 1' prints and exits, SUPERUSER=1 may change everything
	@$(BIN)/hiring psql $(if $(SUPERUSER),--superuser) $(if $(SQL),--sql "$$SQL")
psql: export SQL := $(SQL)

ingest: $(INSTALLED) ## The load engine by hand on the embedded servers: ARGS='status', 'load', 'validate FILE'
	@$(BIN)/hiring ingest $(ARGS)

dbt: $(INSTALLED) ## dbt by hand on the embedded server: ARGS='build -s hires_by_quarter', 'test', 'show -s jobs'
	@$(BIN)/hiring dbt $(ARGS)

dg: $(INSTALLED) ## Dagster's dg on the embedded servers: ARGS=dev opens the UI with the code as it is, ARGS='list defs'
	@$(BIN)/hiring dg $(ARGS)

status: $(INSTALLED) ## Which services of make up work, and what STATE_DIR takes of the disk
	@$(BIN)/hiring status

docs: $(INSTALLED) ## The models' documentation on DOCS_PORT (8080), from the embedded server, until Ctrl-C
	@$(BIN)/hiring docs

# Compiled test modules are kept where an environment says otherwise, too: each worker and each run needs them.
test: $(INSTALLED) ## The whole test suite, on a Postgres, an S3 server and a Dagster of its own
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-changed: $(INSTALLED) ## The tests of what differs from main, without those of the whole stack
	@$(BIN)/python -m tests.changed

soak: $(INSTALLED) ## Kill the load engine 1,000 times and compare; with STACK=1 any process of a whole stack; some minutes
	@$(BIN)/python -m tests.faults$(if $(STACK),.stack_chaos)

secrets: ## Write .env for docker-compose.yml: random passwords and keys, what is there already stays
	@$(PYTHON) -m deploy.docker.secrets

compose-check: $(INSTALLED) ## docker-compose.yml run for real, killed, destroyed, restored; COMPOSE='podman compose'
	@$(BIN)/python -m tests.containers

aws-check: $(INSTALLED) ## Apply deploy/aws to an AWS of our own and look at it, some minutes; TF_PLUGIN_DIR has the AWS provider
	@$(BIN)/python -m deploy.aws.check

# The hooks of .pre-commit-config.yaml are these targets, so that there is one list of commands.
LINTS := lint-python lint-contract lint-sql lint-images lint-workflows lint-definitions
.PHONY: $(LINTS)

lint: $(LINTS) ## ruff, mypy, import-linter, sqlfluff, hadolint, zizmor for the workflows, and whether Dagster's definitions load

lint-python: $(INSTALLED)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

lint-contract: $(INSTALLED)
	@$(BIN)/python -m contracts

lint-sql: $(INSTALLED)
	@$(BIN)/python -m orchestration.dbt.generated
	@$(BIN)/sqlfluff lint --processes 2 dbt_project

lint-images: $(INSTALLED)
	@$(BIN)/hadolint deploy/docker/Dockerfile

lint-workflows: $(INSTALLED)
	@$(BIN)/zizmor --offline --quiet .github

lint-definitions: $(INSTALLED)
	@$(BIN)/dg check defs

bench: $(INSTALLED) ## What it costs beside what people use instead, some minutes, nothing else running; FIGURES="load_dirty …"
	@$(BIN)/python -m benchmarks $(FIGURES)

format: $(INSTALLED) ## Let ruff and sqlfluff put the code into shape
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m orchestration.dbt.generated
	@$(BIN)/sqlfluff fix --processes 2 dbt_project

lock: $(VENV)/.uv ## Compile requirements.lock for Python 3.11 to 3.13, and the part of it that goes into each image
	@$(COMPILE) --all-extras --group pyproject.toml:local --group pyproject.toml:dev --output-file requirements.lock $(LOCK_FLAGS)
	@for image in orchestration api; do \
		$(COMPILE) --extra $$image --constraint requirements.lock --output-file deploy/docker/$$image.lock; \
	done

clean: ## Stop what runs and forget all state, the landing folder included
	@if [ -x $(BIN)/hiring ]; then $(BIN)/hiring clean; fi
	@rm -rf dbt_project/target dbt_project/logs dbt_project/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.lock pyproject.toml $(VENV)/.uv
	@echo "Installing what requirements.lock names into $(VENV)"
	@$(UV) pip install --quiet --require-hashes --python $(BIN)/python --requirements requirements.lock
	@$(UV) pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
		f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@touch $@
