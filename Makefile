# Every target sets up what it needs in .venv, from nothing but make and Python 3.11 or newer, and
# starts at once when nothing changed.  `make help` lists the targets.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# make PYTHON=/path/to/python3.12 picks the Python that .venv is made with.
PYTHON ?=
# make run MESSAGES=path sends that file instead of the sample.
MESSAGES ?=
export MESSAGES

BIN := .venv/bin
STAMP := .venv/.set-up
PARALLEL := -n auto --maxprocesses 8 --dist worksteal
FAST_TMP := $(shell test -w /dev/shm && echo /dev/shm)
FAST_TESTS := $(wildcard tests/unit tests/contract)
SLOW_TESTS := $(wildcard tests/property tests/integration tests/chaos tests/acceptance)

# The stamp names the folder that the environment was made in; one that was moved, or whose Python
# is gone, does not start.
ifneq ($(shell test "$$(cat $(STAMP) 2>/dev/null)" = "$$(pwd -P)" && $(BIN)/python -V >/dev/null 2>&1 && echo fresh),fresh)
.PHONY: $(STAMP)
endif

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '%-20s %s\n' "$$target" "$$text"; done

.PHONY: set-up
set-up: $(STAMP) ## make .venv, or bring it up to date

$(STAMP): pyproject.toml requirements.lock tools/set_up.sh
	@sh tools/set_up.sh '$(PYTHON)'

.PHONY: run
run: $(STAMP) ## start the platform here and send a sample, or MESSAGES=path
	@exec $(BIN)/shardpost demo $${MESSAGES:+"$$MESSAGES"}

.PHONY: check format-check lint types imports fast-tests
check: format-check lint types imports fast-tests ## format, lint, types, imports, fast tests: under a minute

format-check: $(STAMP)
	$(BIN)/ruff format --check .

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

imports: $(STAMP)
	$(BIN)/lint-imports --no-logo

# What a fast test stores is gone with it, so it may lie in memory where there is such a folder.
fast-tests: export TMPDIR := $(or $(FAST_TMP),$(TMPDIR))
fast-tests: export PYTHONDONTWRITEBYTECODE :=
fast-tests: $(STAMP)
	$(BIN)/python -m pytest -q $(PARALLEL) $(FAST_TESTS)

.PHONY: test
test: check models simulate test-cassandra ## everything: check, models, 3,000 seeds, a real server, property, integration, chaos, acceptance
	$(BIN)/python -m pytest $(SLOW_TESTS)

# Both fetch the server's jars into .venv once, and need a JDK 17 and Maven.
.PHONY: test-cassandra test-cluster
test-cassandra: $(STAMP) ## the ScyllaDB store on a real server: Apache Cassandra behind a sharding front
	$(BIN)/python -m pytest -q -m "not three_nodes" tests/cassandra

test-cluster: $(STAMP) ## the same on three nodes that are killed and come back: some minutes
	$(BIN)/python -m pytest -q -m three_nodes tests/cassandra

.PHONY: models
models: $(STAMP) ## everything that can happen in small models of the protocol, and in their mutants
	$(BIN)/python -m pytest -q $(PARALLEL) tests/models

.PHONY: simulate
simulate: SEEDS ?= 0:+3000
simulate: $(STAMP) ## the lane under random faults: SEEDS=0:+3000, or SEEDS=7 for that one again
	SHARDPOST_SIMULATION_SEEDS=$(SEEDS) SHARDPOST_SIMULATION_STEPS=$(STEPS) \
		SHARDPOST_SIMULATION_WITHOUT=$(WITHOUT) $(BIN)/python -m pytest -q $(PARALLEL) tests/simulation

.PHONY: simulate-long
simulate-long: SEEDS ?= 0:+100000
simulate-long: $(STAMP) ## the same without pytest, for many: SEEDS=0:+100000; prints the sums
	@exec $(BIN)/python -m tools.simulate --seeds $(SEEDS) $(if $(MINUTES),--minutes $(MINUTES))

# Every round is another seed; MESSAGES to each provider and FAULTS a round can be named, too.
.PHONY: chaos
chaos: MINUTES ?= 60
chaos: $(STAMP) ## kill and pause actors while providers fail, for MINUTES=60; prints the sums
	@exec $(BIN)/python -m tools.chaos --minutes $(MINUTES) \
		$(if $(MESSAGES),--messages $(MESSAGES)) $(if $(FAULTS),--faults $(FAULTS))

.PHONY: mutants
mutants: $(STAMP) ## break the code on purpose, line by line: each break must turn the fast tests red
	$(BIN)/python -m tools.mutants --record .mutants.jsonl

.PHONY: mutants-cassandra
mutants-cassandra: $(STAMP) ## the same for what only a real server shows: a server for each break
	$(BIN)/python -m tools.mutants --server

.PHONY: bench
bench: $(STAMP) ## every benchmark, or BENCH="name name"; each prints JSON lines
	$(BIN)/python -m benchmarks $(BENCH)

.PHONY: draw
draw: $(STAMP) ## draw again what docs/ takes from the code
	$(BIN)/python -m tools.draw_lifecycle

.PHONY: format
format: $(STAMP) ## format the code and sort its imports
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

# Keeps the pins that still fit; `make lock UPGRADE=1` takes the newest.
.PHONY: lock
lock: $(STAMP) ## write requirements.lock from the ranges of pyproject.toml
	@test -x .venv/lock-tool/bin/uv || { $(BIN)/python -m venv .venv/lock-tool && .venv/lock-tool/bin/python -m pip install --quiet uv; }
	UV_CUSTOM_COMPILE_COMMAND="make lock" .venv/lock-tool/bin/uv --no-config pip compile --quiet \
		--universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		$(if $(UPGRADE),--upgrade) --group dev --output-file requirements.lock pyproject.toml

.PHONY: clean
clean: ## remove .venv and every cache; data folders stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info
	find actors benchmarks cluster pipeline tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
