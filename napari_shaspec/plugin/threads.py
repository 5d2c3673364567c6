"""Run work in threads of our own, and bring what they yield to the thread of Qt's event loop.

napari's workers share a pool of as many threads as there are cores, in which a waiting run would hold up all others;
they swallow a RuntimeError in a generator, and are broken off without closing it when the window closes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from threading import Thread
from typing import Any, TypeVar

from qtpy.QtCore import QObject, Signal

from napari_shaspec.plugin.latest import Handle
from napari_shaspec.priority import step_back

Item = TypeVar("Item")


class _Relay(QObject):
    """Lives where it was made; what is emitted from another thread arrives there, in order."""

    item = Signal(object)
    error = Signal(object)
    done = Signal()


@dataclass(frozen=True, slots=True, eq=False)
class _Running:
    thread: Thread
    relay: _Relay

    def wait(self, seconds: float) -> bool:
        """See `Handle`."""
        self.thread.join(seconds)
        return not self.thread.is_alive()


NICENESS = 10
"""How far the network steps back behind the thread of the event loop."""


def start_thread(
    work: Callable[[], Iterator[Item]],
    on_item: Callable[[Item], None],
    on_done: Callable[[], None],
    on_error: Callable[[Exception], None],
) -> Handle:
    """Begin the work in a thread; the callbacks come on the thread of the event loop, one of the last two last."""
    relay = _Relay()
    relay.item.connect(on_item)
    relay.error.connect(on_error)
    relay.done.connect(on_done)

    def tell(signal: Any, *arguments: object) -> None:
        # At the exit of the program Qt's part may be gone before this thread is.
        with suppress(RuntimeError):
            signal.emit(*arguments)

    def run() -> None:
        step_back(NICENESS)
        try:
            for result in work():
                tell(relay.item, result)
        except Exception as error:  # noqa: BLE001 (whatever it is, the user is told)
            tell(relay.error, error)
        else:
            tell(relay.done)

    thread = Thread(target=run, name="napari-shaspec", daemon=True)
    thread.start()
    return _Running(thread, relay)
