# All commands for users. Each target installs what it needs into .venv, once per change of requirements.lock.
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
.PHONY: help run up psql ingest dbt dg status docs test test-changed soak secrets compose-check aws-check kubernetes-check lint format lock bench clean

help: ## List the targets; .venv/bin/hiring --help lists the commands that they call
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "make %-16s %s\n", $$1, $$2}'

run: $(INSTALLED) ## Load LANDING (or the sample), print both metrics of 2021 and the rejected records, stop
	@$(BIN)/hiring run

up: $(INSTALLED) ## Start Dagster, the API, Postgres and S3, and keep them until Ctrl-C
	@$(BIN)/hiring up

psql: $(INSTALLED) ## Open psql on the embedded server, read-only; SQL='select 1' prints and exits, SUPERUSER=1 may change anything
	@$(BIN)/hiring psql $(if $(SUPERUSER),--superuser) $(if $(SQL),--sql "$$SQL")
psql: export SQL := $(SQL)

ingest: $(INSTALLED) ## Run the load engine on the embedded servers: ARGS='status', 'load', 'validate FILE'
	@$(BIN)/hiring ingest $(ARGS)

dbt: $(INSTALLED) ## Run dbt on the embedded server: ARGS='build -s hires_by_quarter', 'test', 'show -s jobs'
	@$(BIN)/hiring dbt $(ARGS)

dg: $(INSTALLED) ## Run Dagster's dg on the embedded servers: ARGS=dev opens the UI with the current code, ARGS='list defs'
	@$(BIN)/hiring dg $(ARGS)

status: $(INSTALLED) ## Show which services of make up are up, and how much disk space STATE_DIR takes
	@$(BIN)/hiring status

docs: $(INSTALLED) ## Serve the models' documentation on DOCS_PORT (8080) until Ctrl-C
	@$(BIN)/hiring docs

# Write bytecode even if the environment forbids it: each worker and each run needs the compiled test modules.
test: $(INSTALLED) ## Run all tests, on a Postgres, an S3 server and a Dagster of their own
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

test-changed: $(INSTALLED) ## Run the tests of the files that differ from main, without those of the whole stack
	@$(BIN)/python -m tests.changed

soak: $(INSTALLED) ## Kill the load engine 1,000 times and compare; with STACK=1 any process of a whole stack; takes minutes
	@$(BIN)/python -m tests.faults$(if $(STACK),.stack_chaos)

secrets: ## Write .env for docker-compose.yml: random passwords and keys; existing ones stay
	@$(PYTHON) -m deploy.docker.secrets

compose-check: $(INSTALLED) ## Run docker-compose.yml, kill, destroy and restore it; COMPOSE='podman compose'
	@$(BIN)/python -m tests.containers

aws-check: $(INSTALLED) ## Apply deploy/aws to an AWS emulator and check the result; takes minutes; TF_PLUGIN_DIR has the AWS provider
	@$(BIN)/python -m deploy.aws.check

kubernetes-check: $(INSTALLED) ## Render deploy/kubernetes, look at every pod and run some; DAGSTER_CHART=file, PODMAN='podman'
	@$(BIN)/python -m deploy.kubernetes.check

# The hooks of .pre-commit-config.yaml are these targets, so that there is one list of commands.
LINTS := lint-python lint-contract lint-sql lint-images lint-workflows lint-definitions
.PHONY: $(LINTS)

lint: $(LINTS) ## Run ruff, mypy, import-linter, sqlfluff, hadolint and zizmor, and check the contract and Dagster's definitions

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

bench: $(INSTALLED) ## Compare speed with the usual alternatives; takes minutes on an idle machine; FIGURES="load_dirty …"
	@$(BIN)/python -m benchmarks $(FIGURES)

format: $(INSTALLED) ## Format the code with ruff and sqlfluff
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/python -m orchestration.dbt.generated
	@$(BIN)/sqlfluff fix --processes 2 dbt_project

lock: $(VENV)/.uv ## Compile requirements.lock for Python 3.11 to 3.13, and a lock for each image from it
	@$(COMPILE) --all-extras --group pyproject.toml:local --group pyproject.toml:dev --output-file requirements.lock $(LOCK_FLAGS)
	@for image in orchestration api; do \
		$(COMPILE) --extra $$image --constraint requirements.lock --output-file deploy/docker/$$image.lock; \
	done

clean: ## Stop everything and delete all state, including the landing folder
	@if [ -x $(BIN)/hiring ]; then $(BIN)/hiring clean; fi
	@rm -rf dbt_project/target dbt_project/logs dbt_project/generated .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(INSTALLED): requirements.lock pyproject.toml $(VENV)/.uv
	@echo "Installing the packages of requirements.lock into $(VENV)"
	@$(UV) pip install --quiet --require-hashes --python $(BIN)/python --requirements requirements.lock
	@$(UV) pip install --quiet --no-deps --python $(BIN)/python --editable .
	@touch $@

$(VENV)/.uv:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else \
		f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=/path/to/python3.12")'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.8
	@touch $@
