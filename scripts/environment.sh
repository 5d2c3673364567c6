#!/usr/bin/env bash
# Make .venv with the pinned dependencies and this package in it, editable.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  if ! python=$(scripts/find_python.sh); then
    echo "Expected Python 3.11 or newer with the venv module, found none${PYTHON:+ at $PYTHON}." >&2
    echo "Install it (Debian, Ubuntu: python3 and python3-venv) or name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
  fi
  "$python" -m venv --clear .venv
fi

echo "Installing napari-shaspec and its dependencies into .venv (the first time this takes some minutes)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[all,dev]"
