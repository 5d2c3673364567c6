# `make demo` and `make test` are the two commands; each sets up what is missing first.
# PYTHON=/some/python3.12 chooses the interpreter that makes .venv.

bin := .venv/bin

# Without this napari would read and write the settings of whoever runs the tests.
export NAPARI_CONFIG :=

.DEFAULT_GOAL := help
.PHONY: help demo screenshots test setup system-packages lint clean

help:
	@echo "make demo   segment the bundled sample case into demo/, and open the viewer on it (without a display: demo.png)"
	@echo "make screenshots   draw the pictures of docs/ again, from the real program"
	@echo "make test   check style, types, imports and the manifest, and run the tests"

demo: setup
	scripts/demo.sh

screenshots: setup
	scripts/on_screen.sh $(bin)/python scripts/screenshots.py docs/images

# As many tests at once as there are cores, with a thread each, or they would stand in each other's way; four at most,
# because each opens windows and loads torch. Where a test wants two threads all the same, they wait asleep.
test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(bin)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal

lint: setup
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/mypy
	$(bin)/lint-imports --no-logo
	$(bin)/npe2 validate --imports napari_shaspec/napari.yaml

setup: system-packages .venv/.set-up

# Looked at every time: the check takes milliseconds, and .venv may outlive the machine's packages.
system-packages:
	@scripts/system_packages.sh

.venv/.set-up: pyproject.toml constraints.txt scripts/environment.sh | system-packages
	@scripts/environment.sh
	@touch $@

clean:
	rm -rf .venv build demo demo.png dist .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
