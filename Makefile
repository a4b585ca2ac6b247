# Needs Python 3.11+ and make; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 3# processes: the tests compute more than they wait, and each collects them all (5 s)
CHECK_WORKERS ?= 5# of make check, whose tests wait more than they compute
VERIFY_PYTHONS ?= python3.13 python3.12
LOWEST := .venv-matrix-lowest
NEWEST := .venv-matrix-newest
LOWEST_PYTHON ?= 3.11
NEWEST_PYTHON ?= 3.13

# Bytecode is kept, whatever the surroundings say: each worker and each command that a test starts
# would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check lint types tests quick compiled soak judge smoke goldens verify bench test-matrix test-lowest test-newest lock clean

demo: $(STAMP)  ## watch a simulated pack live (q quits)
	@$(BIN)/bmslink monitor "sim://jbd?cells=16&soc=62&speed=60" "sim://jk02?cells=8&seed=2&speed=60"

test: lint types tests smoke  ## everything CI runs

check: lint types quick  ## before each commit: under three minutes

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

tests: $(STAMP) compiled
	$(BIN)/pytest -n $(WORKERS) --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=100

quick: $(STAMP) compiled
	$(BIN)/pytest -n $(CHECK_WORKERS) --dist worksteal -m "not slow and not sweep and not thorough" --hypothesis-profile check

compiled: $(STAMP)  # pytest compiles the tests anew (20 s): once, and not in each worker at the same time
	@test -d tests/__pycache__ || $(BIN)/pytest --collect-only -qq > /dev/null || true

soak: $(STAMP)  ## the sweeps of which make test takes a part, whole, and more random examples
	BMSLINK_WHOLE_SWEEP=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "sweep or hypothesis"

judge: $(STAMP)  ## the policies, and what acts, over months of life and millions of histories: some hours
	$(BIN)/python tools/ordinary_life.py
	$(BIN)/python tools/soak_control.py
	$(BIN)/python tools/soak_acting.py
	$(BIN)/python tools/wander_acting.py
	$(BIN)/python tools/crash_acting.py
	$(BIN)/python tools/crash_session.py
	$(BIN)/python tools/soak_kill_acting.py
	$(BIN)/python tools/threshold_hour.py
	$(BIN)/python tools/owners.py

smoke: $(STAMP)  ## the wheel, in an empty environment, as a user gets it
	$(BIN)/python tools/smoke.py

goldens: $(STAMP)  ## decode all captures again after a change that is meant to change readings
	$(BIN)/python tools/goldens.py

verify: $(STAMP)  ## independent programs over all captures; they need Python 3.12 and 3.13: VERIFY_PYTHONS="..."
	VERIFY_PYTHONS="$(VERIFY_PYTHONS)" $(BIN)/python tools/verify.py --check

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

test-matrix: test-lowest test-newest  ## both ends of what pyproject.toml allows; needs uv

test-lowest:  ## the oldest Python, with the lowest release of each direct dependency
	$(call matrix,$(LOWEST),$(LOWEST_PYTHON),lowest-direct)

test-newest:  ## the newest Python, with the newest release of everything
	$(call matrix,$(NEWEST),$(NEWEST_PYTHON),highest)

# Twice, for the build backend comes from the group too: without isolation its bounds count as well.
define matrix
	uv venv --quiet --clear --python $(2) $(1)
	uv pip install --quiet --python $(1) --resolution $(3) --group dev
	uv pip install --quiet --python $(1) --resolution $(3) --group dev --no-build-isolation --editable '.[modbus,bumble,service,alerts,parquet,report,plot]'
	uv pip list --python $(1)
	$(1)/bin/ruff check .
	$(1)/bin/mypy --cache-dir $(1)/.mypy_cache
	$(1)/bin/pytest -n 2 -o cache_dir=$(1)/.pytest_cache
endef

lock:  ## needs uv
	uv pip compile --universal --python-version 3.11 --group pyproject.toml:dev pyproject.toml \
		--no-emit-index-url --custom-compile-command "make lock" -o requirements-dev.lock

clean:
	rm -rf $(VENV) .venv-verify $(LOWEST) $(NEWEST) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage

$(STAMP): pyproject.toml requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "bmslink needs Python 3.11 or newer; say: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
