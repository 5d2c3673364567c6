"""Notice in time that a dock goes, so that its threads end before napari takes things apart."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget


def taken_away(dock: QWidget, event: QEvent | None) -> bool:
    """Whether this event of a dock says that napari has taken it out of its window, or deletes it."""
    return event is not None and (
        event.type() is QEvent.Type.DeferredDelete
        or (event.type() is QEvent.Type.ParentChange and dock.parent() is None)
    )


class WindowWatch(QObject):
    """Watches the window that a dock is in, once it is in one.

    Parameters
    ----------
    dock
        Its window becomes known only when napari has put it there: see `look`.
    leave
        Called when that window closes.
    """

    def __init__(self, dock: QWidget, leave: Callable[[], None]) -> None:
        super().__init__(dock)
        self._dock = dock
        self._leave = leave
        self._window: QWidget | None = None
        self._ended = False

    def look(self) -> None:
        """Watch from now on, if there is a window now."""
        window = self._dock.window()
        if window is not None and window is not self._dock and self._window is None and not self._ended:
            self._window = window
            window.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """The window closes.

        A visible window may still refuse to close, after a question; once it is hidden, it has not.
        """
        if event is not None and self._window is not None and watched is self._window:
            hidden = event.type() == QEvent.Type.Hide and not event.spontaneous()
            never_shown = event.type() == QEvent.Type.Close and not self._window.isVisible()
            if hidden or never_shown:
                self._leave()
        return False

    def end(self) -> None:
        """Stop watching, for good."""
        self._ended = True
        if self._window is not None:
            self._window.removeEventFilter(self)
        self._window = None
