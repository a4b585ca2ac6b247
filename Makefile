# Needs Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
VERIFY_PYTHONS ?= python3.13 python3.12

.PHONY: demo test check lint types tests smoke goldens verify bench lock clean

demo: $(STAMP)  ## watch a simulated pack live (q quits)
	@$(BIN)/bmslink monitor "sim://jbd?cells=16&soc=62&speed=60" "sim://jk02?cells=8&seed=2&speed=60"

test: lint types tests smoke  ## everything CI runs

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP)
	$(BIN)/pytest -n auto --cov --cov-report=term:skip-covered --cov-fail-under=99

smoke: $(STAMP)  ## the wheel, in an empty environment, as a user gets it
	$(BIN)/python tools/smoke.py

goldens: $(STAMP)  ## decode all captures again after a change that is meant to change readings
	$(BIN)/python tools/goldens.py

verify: $(STAMP)  ## independent programs over all captures; they need Python 3.12 and 3.13: VERIFY_PYTHONS="..."
	VERIFY_PYTHONS="$(VERIFY_PYTHONS)" $(BIN)/python tools/verify.py --check

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

lock:  ## needs uv
	uv pip compile --universal --python-version 3.11 --group pyproject.toml:dev pyproject.toml \
		--no-emit-index-url --custom-compile-command "make lock" -o requirements-dev.lock

clean:
	rm -rf $(VENV) .venv-verify build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bmslink needs Python 3.11 or newer; say: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
