# Everything happens in .venv, which `make` fills by itself from the pinned, hashed files in requirements/.
# Change what is pinned:
#   uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
#     pyproject.toml requirements/dev.in -o requirements/dev.txt        (runtime.txt: without dev.in)
#   uv pip compile ... -c requirements/dev.txt requirements/build.in -o requirements/build.txt

PYTHON ?= python3
BIN := .venv/bin

# Debian's python3 makes no pip of its own without python3-venv; then its own pip installs into .venv from outside.
PIP = $$($(BIN)/python -m pip --version >/dev/null 2>&1 && echo "$(BIN)/python -m pip" \
	|| echo "$(PYTHON) -m pip --python $(BIN)/python") --disable-pip-version-check install -q

.PHONY: demo setup fmt check test test-slow test-vm bench

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

test: .venv/.develops
	$(BIN)/pytest -n 2 -m "not slow and not vm" $(ARGS)

test-slow: .venv/.develops
	$(BIN)/pytest -m "slow and not vm" $(ARGS)

# The hypervisor layer: needs QEMU (Debian: qemu-system-x86) and the guest kernel (pip install 'microsandbox==0.7.11').
test-vm: .venv/.develops
	$(BIN)/pytest -m vm $(ARGS)

bench: .venv/.develops
	@set -e; for file in $$(grep -l __main__ benchmarks/*.py | grep -v vm.py); do echo "== $$file"; $(BIN)/python "$$file"; done

# The stamps say what .venv can do: run the product; check and test it too.
.venv/.runs: requirements/runtime.txt requirements/build.txt pyproject.toml | $(BIN)/python
	@echo "installing what luminaguard needs into .venv"
	@$(PIP) --require-hashes -r requirements/runtime.txt -r requirements/build.txt
	@$(PIP) --no-build-isolation --no-deps -e .
	@touch $@

.venv/.develops: requirements/dev.txt .venv/.runs
	@echo "installing the tools of development into .venv"
	@$(PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "error: luminaguard needs Python 3.11 or newer, and $(PYTHON) is not" >&2; \
		echo "hint: make PYTHON=/path/to/a/newer/python3" >&2; exit 3; }
	@$(PYTHON) -m venv .venv >/dev/null 2>&1 || { \
		$(PYTHON) -m pip --version >/dev/null 2>&1 && $(PYTHON) -m venv --clear --without-pip .venv; } || { \
		rm -rf .venv; echo "error: $(PYTHON) cannot make a virtual environment" >&2; \
		echo "hint: apt install python3-venv" >&2; exit 3; }
