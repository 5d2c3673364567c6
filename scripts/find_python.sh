#!/usr/bin/env bash
# Print a Python that is new enough and can make a virtual environment; fail without a word when there is none.
# PYTHON, when set, is the only candidate. 3.11 comes first because constraints.txt was resolved with it.
set -euo pipefail

for candidate in ${PYTHON:-python3.11 python3 /usr/bin/python3 python3.12 python3.13 python3.14 python}; do
  # Debian ships venv without ensurepip until python3-venv is installed.
  if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    echo "$candidate"
    exit 0
  fi
done
exit 1
