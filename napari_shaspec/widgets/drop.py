"""Take dropped NIfTI files and case folders, so that no dialog asks which reader to use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QDropEvent
from qtpy.QtWidgets import QApplication, QWidget

from napari_shaspec.plugin.reader import get_reader

SIDECARS = (".json", ".bval", ".bvec")
"""What dcm2niix and BIDS put beside images: dropped along with them, it is no reason to open nothing."""


class DropFilter(QObject):
    """Listens to the application, and takes drops on the window that ``panel`` is in.

    Parameters
    ----------
    panel
        While it is open, its window's drops of NIfTI come here; all others go their way.
    open_paths
        What to do with them.
    """

    def __init__(self, panel: QWidget, open_paths: Callable[[list[str]], None]) -> None:
        super().__init__(panel)
        self._panel = panel
        self._open_paths = open_paths
        application = QApplication.instance()
        if application is not None:
            application.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Whether the event is dealt with here."""
        if event is None or event.type() != QEvent.Type.Drop or not isinstance(event, QDropEvent):
            return False
        if not isinstance(watched, QWidget) or watched.window() not in self._windows():
            return False
        mime = event.mimeData()
        urls = [] if mime is None else mime.urls()
        paths = [str(Path(url.toLocalFile())) for url in urls if url.isLocalFile()]
        images = [path for path in paths if not path.lower().endswith(SIDECARS)]
        if not images or len(paths) != len(urls) or get_reader(images) is None:
            return False
        event.acceptProposedAction()
        self._open_paths(images)
        return True

    def _windows(self) -> list[QWidget]:
        """The panel's window, and if it floats, the one it belongs to."""
        own = self._panel.window()
        above = None if own is None else own.parentWidget()
        return [window for window in (own, None if above is None else above.window()) if window is not None]

    def remove(self) -> None:
        """Stop listening."""
        application = QApplication.instance()
        if application is not None:
            application.removeEventFilter(self)
