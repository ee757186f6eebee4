PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: setup demo test bench gpu lint tables site clean

setup: .venv/.done

.venv/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "ltbench needs Python 3.11 or newer; choose one with: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	@echo "installing ltbench and what it needs into .venv: gigabytes and minutes, most of it torch"
	$(PIP) -e .
	@touch $@

.venv/.done: .venv/.installed
	@echo "installing what tests and development need"
	$(PIP) -e '.[dev]'
	@touch $@

demo: .venv/.installed
	$(BIN)/ltbench run digits-lt --fresh --results build/demo

test: setup
	$(BIN)/python -m pytest --quiet --numprocesses auto --dist loadfile

bench: setup
	$(BIN)/python -m pytest --quiet tests/bench $(BENCH)

gpu: setup
	$(BIN)/python tests/bench/gpu.py build/gpu

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

tables: setup
	@for folder in leaderboards/*/; do \
		name=$$(basename $$folder); \
		$(BIN)/ltbench leaderboard $$name | diff - leaderboards/$$name/table.md \
			&& echo "$$name: the table follows from its records" || exit 1; \
	done
	@awk '/^\|/ { print; table = 1; next } table { exit }' leaderboards/digits-lt/table.md | \
		while IFS= read -r line; do grep -qxF -e "$$line" README.md \
			|| { echo "README.md does not show: $$line"; exit 1; }; done

site: setup
	$(BIN)/ltbench site --into build/site

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
