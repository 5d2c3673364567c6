#!/usr/bin/env bash
# See that the system has a usable Python and the libraries that napari's window needs.
# Root on Debian or Ubuntu: missing packages are installed. Anyone else is told their names, and the set-up goes on:
# without a window the command line still works.
set -euo pipefail
cd "$(dirname "$0")/.."

# Other systems bring these libraries with the desktop, or Qt's own package does.
[ "$(uname -s)" = Linux ] || exit 0
PATH="$PATH:/usr/sbin:/sbin"

# Debian's package, and the program or library by which its presence is known on any distribution.
needed="
xvfb                Xvfb
xauth               xauth
libgl1              libGL.so.1
libegl1             libEGL.so.1
libdbus-1-3         libdbus-1.so.3
libfontconfig1      libfontconfig.so.1
libglib2.0-0        libglib-2.0.so.0
libxcb-cursor0      libxcb-cursor.so.0
libxcb-icccm4       libxcb-icccm.so.4
libxcb-keysyms1     libxcb-keysyms.so.1
libxcb-shape0       libxcb-shape.so.0
libxkbcommon-x11-0  libxkbcommon-x11.so.0
"

libraries=$(ldconfig -p 2>/dev/null || true)
missing=()
while read -r package probe; do
  case "$probe" in
    "") ;;
    *.so.*) [[ "$libraries" == *"$probe "* ]] || missing+=("$package") ;;
    *) command -v "$probe" >/dev/null || missing+=("$package") ;;
  esac
done <<<"$needed"
# A .venv that runs needs no other Python; one given by hand is not ours to replace.
if [ -z "${PYTHON:-}" ] && ! .venv/bin/python -c '' 2>/dev/null && ! scripts/find_python.sh >/dev/null; then
  missing+=(python3 python3-venv)
fi
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing system packages: ${missing[*]}"
  export DEBIAN_FRONTEND=noninteractive
  if apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; then
    exit 0
  fi
fi
{
  echo "Warning: these system packages are missing (names as in Debian and Ubuntu): ${missing[*]}"
  echo "The viewer and its tests need them. Install them with:"
  echo "  sudo apt-get install --no-install-recommends ${missing[*]}"
} >&2
