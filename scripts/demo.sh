#!/usr/bin/env bash
# Segment the bundled sample case on the command line, then open the viewer on it. Without a display, the viewer opens on
# a virtual screen and leaves a picture.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p demo
.venv/bin/napari-shaspec predict --sample --out demo/sample_seg.nii.gz --overlay demo/sample_overlay.png --overwrite
if [ "$(uname -s)" != Linux ] || [ -n "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
  exec .venv/bin/napari-shaspec view --sample
fi
exec scripts/on_screen.sh .venv/bin/napari-shaspec view --sample --screenshot demo.png --overwrite
