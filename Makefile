# Everything happens in .venv, which `make` fills by itself from the pinned, hashed files in requirements/.
# Change what is pinned:
#   uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
#     pyproject.toml requirements/dev.in -o requirements/dev.txt        (runtime.txt: without dev.in)
#   uv pip compile ... -c requirements/dev.txt requirements/build.in -o requirements/build.txt
#   uv pip compile ... requirements/vm.in -o requirements/vm.txt

PYTHON ?= python3
BIN := .venv/bin

# Debian's python3 makes no pip of its own without python3-venv; then its own pip installs into .venv from outside.
PIP = $$($(BIN)/python -m pip --version >/dev/null 2>&1 && echo "$(BIN)/python -m pip" \
	|| echo "$(PYTHON) -m pip --python $(BIN)/python") --disable-pip-version-check install -q

.PHONY: demo setup fmt check compiled test test-slow test-vm test-vm-slow agents test-agents contracts bench

demo: .venv/.runs
	$(BIN)/luminaguard demo

setup: .venv/.develops

fmt: .venv/.develops
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: .venv/.develops
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@echo "requirements: every line pinned by a hash, no host named"
	@! grep -nE '^[A-Za-z0-9]' requirements/*.txt | grep -vE '==.* \\$$'
	@! grep -nE '[a-z]+://' requirements/*

# The tests start some thousand processes of ours. Where PYTHONDONTWRITEBYTECODE is set, or a sandbox mounts the source
# read-only, each of them would compile the source anew, which takes as long again as the rest of its start.
compiled: .venv/.develops
	@$(BIN)/python -m compileall -q src

test: compiled
	$(BIN)/pytest -n 3 -m "not slow and not vm and not agents" $(ARGS)

test-slow: compiled
	$(BIN)/pytest -m "slow and not vm" $(ARGS)

# The hypervisor layer: needs QEMU, mkfs.erofs and a C compiler (Debian: qemu-system-x86, erofs-utils, gcc, libc6-dev), and
# skips what it misses.
test-vm: .venv/.emulates compiled
	$(BIN)/pytest -n 2 -m "vm and not slow" $(ARGS)

test-vm-slow: .venv/.emulates compiled
	$(BIN)/pytest -m "vm and slow" $(ARGS)

# Real agent programs, at the versions of tests/agents/real/package.json: needs npm, some 1.9 GB of disk and no key.
agents: .venv/.develops
	$(BIN)/python tests/agents/real_agents.py

test-agents: agents compiled
	LUMINAGUARD_REQUIRE_AGENTS=1 $(BIN)/pytest -n 2 -m agents $(ARGS)

# What GitHub, Gitea and Forgejo say of their own APIs, and two servers that others wrote: needs npm; some 40 MB are kept in
# a cache. Tests of the drivers and of the local forge's face hold requests and answers against them, and skip without.
contracts: .venv/.develops
	$(BIN)/python tests/forges/github/github_contracts.py
	PYTHONPATH=tests/forges/github:tests/forges/gitlab $(BIN)/python tests/forges/gitea/gitea_contracts.py

bench: .venv/.emulates
	@set -e; for file in $$(grep -l __main__ benchmarks/*.py); do echo "== $$file"; $(BIN)/python "$$file"; done

# The stamps say what .venv can do: run the product; check and test it too; boot guests.
.venv/.runs: requirements/runtime.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "installing what luminaguard needs into .venv"
	@$(PIP) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

.venv/.develops: requirements/dev.txt .venv/.runs
	@echo "installing the tools of development into .venv"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

.venv/.emulates: requirements/vm.txt .venv/.develops
	@echo "installing the guest kernel into .venv"
	@$(PIP) --require-hashes -r requirements/vm.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: luminaguard needs Python 3.11 or newer, and $(PYTHON) is not" >&2; \
		echo "hint: make PYTHON=/path/to/a/newer/python3" >&2; exit 3; }
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
		$(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m venv --clear --without-pip .venv; } || { \
		rm -rf .venv; echo "error: $(PYTHON) cannot make a virtual environment" >&2; \
		echo "hint: apt install python3-venv" >&2; exit 3; }
