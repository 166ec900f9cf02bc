# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What pip installs as torch: the CPU build where pip finds one, else the release. Any pip arguments do:
#   make demo TORCH="torch==2.13.0 --index-url <the index of your CUDA version>"
TORCH ?=
# Tests start hundreds of processes of ours: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE
# Quick tests sync thousands of small files. Where memory has a GB for these, they wait for no disk; of tests
# that pass nothing stays.
SHM_KB := $(shell df --output=avail -k /dev/shm 2>/dev/null | tail -n 1 | tr -dc 0-9)
IN_MEMORY := $(shell [ "0$(SHM_KB)" -gt 1000000 ] && echo PYTEST_DEBUG_TEMPROOT=/dev/shm)

.PHONY: demo quick test cluster check clean

demo: $(VENV)/ready
	$(BIN)/outbound demo

quick: $(VENV)/ready
	$(IN_MEMORY) $(BIN)/pytest -n 2 -m "not slow" -o tmp_path_retention_policy=failed

test: $(VENV)/ready
	$(BIN)/pytest -n 2 --ignore tests/cluster

cluster: $(VENV)/ready
	$(BIN)/pytest tests/cluster

check: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) demo

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
ifeq ($(TORCH),)
	$(BIN)/pip install --quiet "torch==2.13.0+cpu" || $(BIN)/pip install "torch==2.13.0"
else
	$(BIN)/pip install $(TORCH)
endif
	$(BIN)/pip install --constraint constraints.txt --editable ".[dev,eval,speed]"
	touch $@
