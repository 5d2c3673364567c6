"""Notice in time that a dock goes, so that its threads end before napari takes things apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from qtpy.QtCore import QEvent, QObject
from qtpy.QtWidgets import QWidget

from napari_shaspec.widgets.layout import bring_forward

if TYPE_CHECKING:
    from napari_shaspec.widgets.shaspec import ShaSpecWidget


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


class Dock(QWidget):
    """A dock that ends its work when napari takes it out of its window, deletes it, or closes the window."""

    def __init__(self) -> None:
        super().__init__()
        self._window = WindowWatch(self, self.shut_down)

    def shut_down(self) -> None:
        """Stop threads and connections, and `WindowWatch.end`; called once or more."""
        raise NotImplementedError

    def event(self, event: QEvent | None) -> bool:
        """Notice when napari takes this out of its dock, or deletes it."""
        if event is not None and (
            event.type() is QEvent.Type.DeferredDelete
            or (event.type() is QEvent.Type.ParentChange and self.parent() is None)
        ):
            self.shut_down()
        return super().event(event)

    def showEvent(self, event: Any) -> None:  # noqa: N802 (Qt's)
        """The window is known from now on."""
        super().showEvent(event)
        self._window.look()


class PanelDock(Dock):
    """A dock that is opened from a panel, and ends with it once it has connected to the panel's ``closing``.

    Parameters
    ----------
    panel
        Whose viewer and case it shows.
    """

    def __init__(self, panel: ShaSpecWidget) -> None:
        super().__init__()
        self._closed = False
        self._viewer, self._state = panel.viewer, panel.state

    @property
    def closed(self) -> bool:
        """Whether it has ended; napari may show it still."""
        return self._closed


Opened = TypeVar("Opened", bound=PanelDock)


def open_below(panel: ShaSpecWidget, name: str, kind: type[Opened]) -> Opened:
    """The dock of that name and kind, docked below the canvas if it is not there yet, or has ended."""
    window = panel.viewer.window
    there = window.dock_widgets.get(name)
    if isinstance(there, kind):
        if not there.closed:
            bring_forward(there)
            return there
        window.remove_dock_widget(there)
    dock = kind(panel)
    window.add_dock_widget(dock, name=name, area="bottom", add_vertical_stretch=False)
    return dock
