"""A slip changes nothing: the mouse wheel scrolls the panel unless a value was clicked into, and arrows open lists."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QSlider, QTabBar, QWidget

TAKE_THE_WHEEL = (QComboBox, QAbstractSpinBox, QSlider)
STEP = {Qt.Key.Key_Up, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_PageUp, Qt.Key.Key_PageDown}


class SlipFilter(QObject):
    """Keeps the wheel from what has no focus, and keys from choosing what they only pass on their way.

    One notch or step over a row would put another layer into it, and take that from the row it was in.

    Parameters
    ----------
    panel
        All of it that is there by now.
    lists
        Of its boxes those whose every choice has an effect at once: while one is closed, keys open it, and no more.
    """

    def __init__(self, panel: QWidget, lists: Iterable[QComboBox]) -> None:
        super().__init__(panel)
        self._lists = list(lists)
        for kind in TAKE_THE_WHEEL:
            for widget in panel.findChildren(kind):
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # else the wheel itself brings the focus
                widget.installEventFilter(self)
        for bar in panel.findChildren(QTabBar):
            bar.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Whether the event is dealt with here."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._open(watched, event)
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget):
            return False
        if watched.hasFocus() and not isinstance(watched, QTabBar):
            return False
        event.ignore()  # what is around the widget gets it, and scrolls
        return True

    def _open(self, watched: QObject | None, event: QKeyEvent) -> bool:
        """Show the list instead of going a step along it; the open list has keys of its own."""
        box = next((each for each in self._lists if each is watched), None)
        view = None if box is None else box.view()
        if box is None or event.key() not in STEP or (view is not None and view.isVisible()):
            return False
        box.showPopup()
        return True
