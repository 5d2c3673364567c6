"""Run work in napari's threads; napari shows that it runs, and waits for it in its tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Event
from typing import TypeVar

from napari_shaspec.plugin.latest import Handle

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class _Failure:
    error: Exception


@dataclass(frozen=True, slots=True)
class _Thread:
    ended: Event

    def wait(self, seconds: float) -> bool:
        """See `Handle`."""
        return self.ended.wait(seconds)


def start_thread(
    work: Callable[[], Iterator[Item]],
    on_item: Callable[[Item], None],
    on_done: Callable[[], None],
    on_error: Callable[[Exception], None],
) -> Handle:
    """Begin the work in a thread; the callbacks come on the thread of Qt's event loop."""
    from napari.qt.threading import create_worker

    ended = Event()

    def guarded() -> Iterator[Item | _Failure]:
        # A RuntimeError in a generator would end napari's worker without a word, so errors travel as results.
        try:
            yield from work()
        except Exception as error:  # noqa: BLE001 (whatever it is, the user is told)
            yield _Failure(error)
        finally:
            ended.set()

    failed = Event()

    def received(result: Item | _Failure) -> None:
        if isinstance(result, _Failure):
            failed.set()
            on_error(result.error)
        else:
            on_item(result)

    def finished() -> None:
        if not failed.is_set():
            on_done()

    create_worker(
        guarded, _start_thread=True, _ignore_errors=True, _connect={"yielded": received, "finished": finished}
    )
    return _Thread(ended)
