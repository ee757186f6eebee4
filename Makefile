PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt

# boards whose data are installed with scikit-learn, so that they run anywhere
BOARDS ?= digits-lt digits-balanced digits-bags-lt digits-clusters-10 digits-detection-lt \
	digits-domains digits-federated digits-peers digits-groups digits-finetune digits-incremental \
	digits-robust digits-rotation-lt digits-scenes-lt digits-semi-consistent digits-sequences-lt \
	phrases-lt tabular-embedded distill-digits compress-digits
BASE ?= main
SHARD ?= 1/1
SAMPLE ?= 3
export BASE SHARD

.PHONY: setup demo test bench gpu lint tables site docs pages review summary shard boards verify moved clean

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
	$(BIN)/python -m pytest --quiet --numprocesses auto --dist loadfile --no-loadscope-reorder

bench: setup
	$(BIN)/python -m pytest --quiet tests/bench $(BENCH)

gpu: setup
	$(BIN)/python tests/bench/gpu.py build/gpu

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/zizmor --offline --no-progress --quiet --strict-collection .github action.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-actions action.yml
	$(BIN)/shellcheck .ci/*

tables: setup
	$(BIN)/python -m pytest --quiet tests/test_committed.py

site: setup
	$(BIN)/ltbench site --into build/site

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

# what is published: the boards, and the documents below them
pages: site docs
	rm -rf build/pages && cp -r build/site build/pages && cp -r build/docs build/pages/documents

# what the working tree changes since it parted from BASE, as a pull request shows it
review: setup
	$(BIN)/ltbench review "$$BASE" $(BOARDS) --into build/review --sample $(SAMPLE) \
		--fail balanced_accuracy:-1 --fail mean_of_cells:-1 --fail cost:+25%

summary:
	cat build/review/review.md >> "$${GITHUB_STEP_SUMMARY:-/dev/stdout}"

# a part of all boards, which goes on where it was stopped
shard: setup
	@failed=0; for name in $(BOARDS); do \
		$(BIN)/ltbench run $$name --shard "$$SHARD" --results build/part || failed=1; done; exit $$failed

boards: setup
	$(BIN)/ltbench merge build/parts/* --into build/boards

verify: setup
	@failed=0; for name in $(BOARDS); do \
		$(BIN)/ltbench verify $$name --sample $(SAMPLE) --by ci || failed=1; done; exit $$failed

# what moved beyond chance, of the boards as they were run again
moved: setup
	@rm -f build/moved.md.failed; $(BIN)/ltbench compare leaderboards build/boards $(BOARDS) \
		--fail balanced_accuracy:-0.1 --fail balanced_accuracy:+0.1 --fail mean_of_cells:-0.1 \
		--fail mean_of_cells:+0.1 > build/moved.md; code=$$?; cat build/moved.md; \
		case $$code in 0) ;; 1) touch build/moved.md.failed ;; *) exit $$code ;; esac

clean:
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
