"""Read files in a thread, so that the viewer does not stand still meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.plugin.latest import Handle, Start
from napari_shaspec.plugin.layers import LayerData
from napari_shaspec.plugin.reader import files_of, read_file


class Opening:
    """Opens files and case folders, one after the other; what cannot be read is told, and the rest goes on.

    Parameters
    ----------
    start
        How to run it.
    add
        Called with each layer.
    tell
        Called with each error, and with what was left out.
    """

    def __init__(
        self, start: Start, add: Callable[[LayerData], None], tell: Callable[[ShaSpecError | str], None]
    ) -> None:
        self._start = start
        self._add = add
        self._tell = tell
        self._cancelled = Event()
        self._handles: list[Handle] = []

    def open(self, paths: Sequence[str], done: Callable[[], None]) -> None:
        """Begin reading.

        Parameters
        ----------
        done
            Called at the end, whatever came of it.
        """

        def work() -> Iterator[LayerData | ShaSpecError | str]:
            for path in paths:
                try:
                    files, left_out = files_of(path)
                except ShaSpecError as error:
                    yield error
                    continue
                if left_out:
                    yield left_out
                for file in files:
                    if self._cancelled.is_set():
                        return
                    try:
                        yield read_file(file)
                    except ShaSpecError as error:
                        yield error

        def received(item: LayerData | ShaSpecError | str) -> None:
            if self._cancelled.is_set():
                return
            if isinstance(item, ShaSpecError | str):
                self._tell(item)
            else:
                self._add(item)

        def ended() -> None:
            if not self._cancelled.is_set():
                done()

        def failed(error: Exception) -> None:
            ended()
            raise error  # a bug: napari shows where

        self._handles = [handle for handle in self._handles if not handle.wait(0)]
        self._handles.append(self._start(work, received, ended, failed))

    def close(self, seconds: float) -> bool:
        """Stop at the next file; whether the threads have ended."""
        self._cancelled.set()
        return all(handle.wait(seconds) for handle in self._handles)
