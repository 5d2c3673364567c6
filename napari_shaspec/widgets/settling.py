"""Wait until something has come to rest before acting on it."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QObject, QTimer

SETTLE_MS = 120
"""Layers that come within this time belong together; brush strokes within it are measured once."""


def settle_timer(parent: QObject, slot: Callable[[], None]) -> QTimer:
    """Calls ``slot`` once nobody has started it for `SETTLE_MS`."""
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(SETTLE_MS)
    timer.timeout.connect(slot)
    return timer
