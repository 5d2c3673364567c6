"""The rule of order: of several requests only the newest is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")

Work = Callable[[Event], Iterator[Item]]
"""Yields its results one by one, and returns early once the event is set."""


class Handle(Protocol):
    """A piece of work that is running."""

    def wait(self, seconds: float) -> bool:
        """Block until it has ended; whether it has."""


class Start(Protocol):
    """Runs work elsewhere and reports on the caller's thread; one of the last two is called at the end, once."""

    def __call__(
        self,
        work: Callable[[], Iterator[Item]],
        on_item: Callable[[Item], None],
        on_done: Callable[[], None],
        on_error: Callable[[Exception], None],
    ) -> Handle:
        """Begin."""


class Latest(Generic[Item]):
    """Runs one kind of work; a new run cancels the one before, whose late results are dropped.

    Parameters
    ----------
    start
        How to run it.
    on_item, on_done, on_error
        Called for the newest run only.
    """

    def __init__(
        self,
        start: Start,
        on_item: Callable[[Item], None],
        on_done: Callable[[], None] = lambda: None,
        on_error: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        self._start = start
        self._on_item = on_item
        self._on_done = on_done
        self._on_error = on_error
        self._generation = 0
        self._cancelled = Event()
        self._handles: list[Handle] = []
        self.running = False

    def run(self, work: Work[Item]) -> None:
        """Cancel what runs, and start this."""
        self.cancel()
        generation, cancelled = self._generation, Event()
        self._cancelled = cancelled
        self.running = True

        def is_newest() -> bool:
            return generation == self._generation

        def item(result: Item) -> None:
            if is_newest():
                self._on_item(result)

        def done() -> None:
            if is_newest():
                self.running = False
                self._on_done()

        def failed(error: Exception) -> None:
            if is_newest():
                self.running = False
                self._on_error(error)

        self._handles = [handle for handle in self._handles if not handle.wait(0)]
        self._handles.append(self._start(lambda: work(cancelled), item, done, failed))

    def cancel(self) -> None:
        """Nothing of what runs is heard any more; it stops at its next result."""
        self._generation += 1
        self._cancelled.set()
        self.running = False

    def close(self, seconds: float) -> bool:
        """Cancel, and wait for the thread to end; whether it has."""
        self.cancel()
        return all(handle.wait(seconds) for handle in self._handles)
