# Every target starts from a bare clone: Python 3.11 and a package registry are enough,
# but for `check`, whose buf comes from npm.
#
#   make demo            replay a retailer's half year and show what became of it (FRESH=1: from nothing)
#   make test            the test suite, two files at a time (ARGS="tests/shared -x" for a part of it)
#   make check           everything that needs no running service: style, types, arrows, protos, containers
#   make protos          write gen/ anew from protos/
#   make bench           the figures; results go to bench/results/
#   make lock            resolve the dependencies anew into requirements*.lock
#   make format          let ruff format the tree

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help demo test check check-code check-protos check-containers protos bench lock format clean

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.installed
IMAGE := var/protos/image.binpb
RELEASED := protos/released.binpb
BUF := node_modules/.bin/buf
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Tests start hundreds of processes, and reading every module anew takes each of them four seconds.
export PYTHONDONTWRITEBYTECODE :=

help:
	@sed -n 's/^#   make/make/p' Makefile

$(READY): requirements-dev.lock
	@PYTHON="$(PYTHON)" tools/bootstrap.sh

demo: $(READY)
	guerdon demo $(if $(FRESH),--fresh)

test: $(READY)
	python -m pytest $(or $(ARGS),-n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0)

check: check-code check-containers check-protos

check-code: $(READY)
	ruff check .
	ruff format --check .
	mypy
	python tools/house.py
	python tools/protos.py --check

check-containers: $(READY)
	check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	hadolint Containerfile

check-protos: $(READY) $(BUF)
	python tools/protos.py --image $(IMAGE)
	$(BUF) lint $(IMAGE)
	@if [ -f $(RELEASED) ]; then \
		echo $(BUF) breaking $(IMAGE) --against $(RELEASED); \
		$(BUF) breaking $(IMAGE) --against $(RELEASED); \
	else \
		echo "buf breaking: nothing is released yet; $(RELEASED) is what it will compare with"; \
	fi

$(BUF): package-lock.json
	@command -v npm >/dev/null || { \
		echo "make check needs npm (Node.js 18 or newer) for buf; make test and make demo do not" >&2; exit 1; }
	@# Not npm ci: it wants the binaries of every platform in the lock, and a mirror may lack some.
	npm install --no-save --ignore-scripts --silent
	@touch -c $(BUF)

protos: $(READY)
	python tools/protos.py

bench: $(READY)
	python -m bench $(ARGS)

lock: $(READY)
	tools/lock.sh

format: $(READY)
	ruff check --fix-only --quiet .
	ruff format .

clean:
	rm -rf build dist node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
