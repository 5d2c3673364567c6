# `make demo` and `make test` are the two commands; each sets up what is missing first.
# PYTHON=/some/python3.12 chooses the interpreter that makes .venv.

bin := .venv/bin

# Without this napari would read and write the settings of whoever runs the tests.
export NAPARI_CONFIG :=

.DEFAULT_GOAL := help
.PHONY: help demo test setup system-packages lint clean

help:
	@echo "make demo   segment the bundled sample case: label map and picture in demo/, region volumes on the screen"
	@echo "make test   check style, types, imports and the manifest, and run the tests"

demo: setup
	mkdir -p demo
	rm -f demo/sample_seg.nii.gz demo/sample_overlay.png
	$(bin)/napari-shaspec predict --sample --out demo/sample_seg.nii.gz --overlay demo/sample_overlay.png

test: lint
	$(bin)/python -m pytest -q

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
	rm -rf .venv build demo dist .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
