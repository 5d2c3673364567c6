"""Let what somebody waits for go first."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import get_native_id


def step_back(niceness: int) -> None:
    """Give the calling thread, and those that it starts, less of a busy processor.

    It still gets every moment that nobody else wants. Linux alone tells threads apart like this; elsewhere, and where
    the system does not allow it, nothing happens.

    Parameters
    ----------
    niceness
        From 0, like everybody, to 19, behind all others.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, get_native_id(), niceness)
