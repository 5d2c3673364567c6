#!/usr/bin/env bash
# Run a command that opens windows: on the display, or on a virtual screen where there is none.
set -euo pipefail

if [ "$(uname -s)" != Linux ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  exec "$@"
fi
if ! command -v xvfb-run >/dev/null; then
  echo "There is no display, and no virtual one: install xvfb and xauth (Debian, Ubuntu), or log in with a desktop." >&2
  exit 1
fi
exec xvfb-run --auto-servernum --server-args "-screen 0 1600x1000x24" "$@"
