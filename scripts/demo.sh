#!/usr/bin/env bash
# Open the viewer on the bundled sample case. Without a display, do so on a virtual screen and keep a picture.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ "$(uname -s)" != Linux ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  exec .venv/bin/napari-shaspec view --sample
fi
exec scripts/on_screen.sh .venv/bin/napari-shaspec view --sample --screenshot demo.png --overwrite
