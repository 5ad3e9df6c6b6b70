# Everything a person does to this repository, by name. Each target installs what it needs, once.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:

UV := .uv/bin/uv
BIN := .venv/bin
LOCK := requirements/stand.lock
TOOLS := requirements/tools.lock
HARNESSES := $(addprefix .harnesses/,.ready node/.ready aider/.ready openhands/.ready)

# An environment that is active in the calling shell is none of ours.
unexport VIRTUAL_ENV PYTHONPATH PYTHONHOME
# uv and Node trust their own certificates unless told; behind a proxy only the machine's will do.
CERTIFICATES := $(wildcard /etc/ssl/certs/ca-certificates.crt)
ifneq ($(CERTIFICATES),)
export UV_SYSTEM_CERTS ?= 1
export NODE_EXTRA_CA_CERTS ?= $(CERTIFICATES)
endif

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' Makefile

# ── environments ─────────────────────────────────────────────────────────────────────────────────────────────────────
# Byte-compiled at install: where PYTHONDONTWRITEBYTECODE is set, LiteLLM would be compiled again at every start.
SYNC = $(UV) pip sync --quiet --require-hashes --compile-bytecode
OURSELVES = $(UV) pip install --quiet --python $(BIN)/python --no-deps --require-build-hashes -b $(TOOLS) -e . \
	&& $(BIN)/python -m compileall -q src

.uv/ready: scripts/install-uv.sh $(TOOLS)
	@scripts/install-uv.sh
	@touch $@

.venv/bin/python: | .uv/ready
	@$(UV) venv --quiet --clear .venv

.harnesses/bin/python: | .uv/ready
	@$(UV) venv --quiet --clear .harnesses

.venv/.runtime: pyproject.toml $(LOCK) $(TOOLS) .venv/bin/python
	@echo "installing the stand into .venv"
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode \
		-r pyproject.toml --extra local -c $(LOCK)
	@$(OURSELVES)
	@touch $@

.venv/.dev: pyproject.toml $(LOCK) $(TOOLS) .venv/bin/python
	@echo "installing the stand and its development tools into .venv"
	@$(SYNC) --python $(BIN)/python $(LOCK)
	@$(OURSELVES)
	@touch .venv/.runtime $@

.harnesses/.ready: requirements/harnesses.lock .harnesses/bin/python
	@echo "installing third-party harnesses into .harnesses"
	@$(SYNC) --python .harnesses/bin/python requirements/harnesses.lock
	@touch $@

# Those below have environments of their own. Where the machine has no Python for one, it is left out and tried again.
.harnesses/node/bin/npm: requirements/node.lock .harnesses/bin/python
	@$(UV) venv --quiet --clear .harnesses/node
	@$(SYNC) --python .harnesses/node/bin/python requirements/node.lock
	@touch $@
.harnesses/node/.ready: requirements/harnesses-npm/package-lock.json .harnesses/node/bin/npm
	@scripts/install-harnesses.sh npm
.harnesses/aider/.ready: requirements/aider.lock .harnesses/bin/python
	@scripts/install-harnesses.sh python aider '>=3.11,<3.13'
.harnesses/openhands/.ready: requirements/openhands.lock .harnesses/bin/python
	@scripts/install-harnesses.sh python openhands '>=3.12,<3.13'

.PHONY: install install-dev clients harnesses system-packages sync lock
install: .venv/.runtime ## install the stand, with its local model, from the lock
install-dev: .venv/.dev ## install the stand and the development tools
clients: .harnesses/.ready ## install the small harnesses that the demo drives
harnesses: $(HARNESSES) ## install the third-party harnesses that the tests drive
system-packages: ## add what is missing of Debian's packages, such as bubblewrap
	@scripts/system-packages.sh
sync: ## bring both environments to exactly what the locks say
	@rm -f .venv/.dev .harnesses/.ready .harnesses/*/.ready
	@$(MAKE) --no-print-directory install-dev harnesses
lock: .venv/bin/python .harnesses/node/bin/npm ## compile the locks again (UPGRADE=1: to the newest versions)
	$(BIN)/python scripts/locks.py --uv $(UV) --npm .harnesses/node/bin/npm $(if $(UPGRADE),--upgrade)

# ── see it work ──────────────────────────────────────────────────────────────────────────────────────────────────────
.PHONY: demo smoke
demo: install .harnesses/.ready ## compare two variants on a real model, end to end
	@$(BIN)/dyno demo
smoke: install .harnesses/.ready ## the fastest proof that the whole path works
	@$(BIN)/dyno demo --smoke

.PHONY: harness-status
harness-status: install harnesses ## run every harness for real, and write its row in docs/harnesses.md
	$(BIN)/dyno harness check --all --refused --page docs/harnesses.md

.PHONY: reports
reports: install harnesses system-packages ## run the bundled experiments, and write their pages in docs/reports
	$(BIN)/python scripts/publish_reports.py

# ── tests ────────────────────────────────────────────────────────────────────────────────────────────────────────────
.PHONY: test test-unit test-integration test-cov test-deployment bench soak chaos
test: test-unit test-integration ## every test: unit, then integration
test-unit: install-dev ## tests without processes or sockets
	$(BIN)/pytest tests/unit
test-integration: install-dev harnesses system-packages ## tests through real processes and sockets
	$(BIN)/pytest --numprocesses 2 --dist loadfile tests/integration
test-cov: install-dev harnesses system-packages ## every test, with the lines that none of them ran
	$(BIN)/pytest --cov=agentdyno --cov-report=term-missing:skip-covered
test-deployment: install-dev ## the contract, with a LiteLLM deployment of yours (docs/deployments.md)
	$(BIN)/pytest --timeout=900 tests/integration/deployments/real_deployment.py
bench: install-dev harnesses ## ratios against a baseline taken in the same run
	@scripts/system-packages.sh parallel
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

SOAK_REQUESTS ?= 20000
soak: install-dev ## thousands of requests, through kills and an outage, all accounted for
	@$(BIN)/python -m tests.soak --requests $(SOAK_REQUESTS)

CHAOS_SEEDS ?= 1 2 3
chaos: install-dev system-packages ## headless runs whose runners are killed again and again, nothing lost
	@$(BIN)/python -m tests.chaos --seeds $(CHAOS_SEEDS)

# ── quality ──────────────────────────────────────────────────────────────────────────────────────────────────────────
.PHONY: lint format format-check type-check floors lock-check docs docs-check quality
lint: install-dev ## ruff's rules
	$(BIN)/ruff check
format: install-dev ## format the code, and mend what ruff can
	$(BIN)/ruff format
	$(BIN)/ruff check --fix
format-check: install-dev ## whether the code is formatted
	$(BIN)/ruff format --check
type-check: install-dev ## strict mypy
	$(BIN)/mypy
floors: install-dev ## modules import only downhill
	$(BIN)/lint-imports
lock-check: install-dev ## whether the locks fit what they are made of (offline)
	$(BIN)/python scripts/locks.py --check
docs: install-dev ## write the generated pages again
	$(BIN)/python scripts/generate_schema_doc.py
docs-check: install-dev ## links, quoted commands, dependencies, generated pages
	$(BIN)/python scripts/check_docs.py
quality: lint format-check type-check floors lock-check docs-check ## all of the above

# ── development ──────────────────────────────────────────────────────────────────────────────────────────────────────
.PHONY: dev-setup dev-check clean
dev-setup: install-dev harnesses system-packages ## everything that work on this repository needs
	@echo "ready: 'make dev-check' before a commit, 'make test' before a push"
dev-check: quality test-unit ## what to run before a commit
clean: ## remove caches and build products; environments and ledgers stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov dist
	find src tests scripts benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
