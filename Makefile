# Two commands to begin with: `make demo` and `make test`.
PYTHON ?= python3
VENV = .venv
BIN = $(VENV)/bin
DEMO ?= runs/digits5

.PHONY: demo test slow lint env env-jax env-mediapipe quantize-env lock wheel

demo: env
	$(BIN)/python -m cckeras.train --benchmark=digits5 --run_dir=$(DEMO)
	$(BIN)/python -m cckeras.verify $(DEMO)
	$(BIN)/python -m cckeras.evaluate $(DEMO)
	$(BIN)/python tools/export_tflite.py $(DEMO) --output=$(DEMO).tflite
	$(BIN)/python tools/benchmark_tflite.py $(DEMO).tflite --compare

test: env lint
	$(BIN)/python -m pytest

slow: env
	$(BIN)/python -m pytest -m slow

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

env: $(VENV)/.complete

$(VENV)/.complete: requirements/tensorflow.lock pyproject.toml setup.py
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements/tensorflow.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	touch $@

# Keras on JAX alone: TensorFlow is not installed.
env-jax: .venv-jax/.complete

.venv-jax/.complete: requirements/jax.lock pyproject.toml setup.py
	$(PYTHON) -m venv --clear .venv-jax
	.venv-jax/bin/pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/jax.lock
	.venv-jax/bin/pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation --editable .
	touch $@

# MediaPipe, for the test that it opens our files (needs OpenGL's libraries).
env-mediapipe: .venv-mediapipe/.complete

.venv-mediapipe/.complete: requirements/mediapipe.lock
	$(PYTHON) -m venv --clear .venv-mediapipe
	.venv-mediapipe/bin/pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/mediapipe.lock
	touch $@

# Keras 2 beside Keras 3, for tools/quantize_aware_tflite.py.
quantize-env: .venv-quantize/.complete

.venv-quantize/.complete: requirements/quantize.lock pyproject.toml setup.py
	$(PYTHON) -m venv --clear .venv-quantize
	.venv-quantize/bin/pip install --quiet --disable-pip-version-check \
		--require-hashes -r requirements/quantize.lock
	.venv-quantize/bin/pip install --quiet --disable-pip-version-check \
		--no-deps --no-build-isolation --editable .
	touch $@

# Needs uv (pip install uv).
lock:
	for name in jax mediapipe quantize tensorflow; do \
		uv pip compile --quiet --no-header --generate-hashes \
			--python-version 3.11 requirements/$$name.in \
			-o requirements/$$name.lock; \
	done

wheel: env
	$(BIN)/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .
