# Two commands: `make demo` runs the main job, `make test` the tests. Each sets up everything it needs, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO_READY := $(VENV)/.demo
UV_VERSION := 0.13.8
# One compute thread per process; parallel work is done by several processes (spinning threads slow small training steps many times).
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

.PHONY: demo test test-slow bench bench-shapes lint format docs lock clean

demo: $(DEMO_READY) ## distil handwritten digits end to end; the report is runs/digits/report/index.html
	$(BIN)/python -m distill run digits

test: $(READY) ## the everyday tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-slow: $(READY) ## the rest
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2 --dist loadgroup -m slow

bench: $(READY) ## the solvers beside scikit-learn, faiss and torch; the tables go to docs/benchmarks.md
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.solvers --write docs/benchmarks.md

bench-shapes: $(READY) ## Lloyd steps on every shape of a grid, hours; a rerun goes on where it stopped
	OMP_NUM_THREADS=2 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m benchmarks.shapes --write docs/benchmarks.md

lint: $(READY) ## style, types, spelling and words
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/codespell
	$(BIN)/codespell -D docs/vocabulary.txt README.md CONTRIBUTING.md docs

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# All that development needs, and what the demo needs: a part of it in the same versions, so either may follow the other.
$(READY): requirements.lock pyproject.toml
$(DEMO_READY): requirements-demo.lock pyproject.toml
$(READY) $(DEMO_READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes --compile-bytecode -r $<
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

docs: $(READY) ## the documentation as a site, in site/; runs the examples (DOCS="-D plot_gallery=0": not)
	$(ONE_THREAD) $(BIN)/python -m sphinx -W --keep-going -q -b html $(DOCS) docs site

lock: ## choose new versions; hashes, no addresses
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip compile pyproject.toml --extra dev --extra docs --universal --python-version 3.11 \
		--upgrade --generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra distill --extra build --constraint requirements.lock --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --no-header --quiet -o requirements-demo.lock

clean: ## remove the environment and the runs
	rm -rf $(VENV) runs site docs/gallery docs/theorems docs/reference/commands.md docs/reference/recipe.md docs/reference/generated docs/reference/backreferences
