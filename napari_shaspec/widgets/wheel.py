"""The mouse wheel scrolls the panel: it changes a value only where somebody has clicked into it before, and no tab."""

from __future__ import annotations

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtWidgets import QAbstractSpinBox, QComboBox, QSlider, QTabBar, QWidget

TAKE_THE_WHEEL = (QComboBox, QAbstractSpinBox, QSlider)


class WheelFilter(QObject):
    """Keeps the wheel from what has no focus: one notch over a row would put another layer into it.

    Parameters
    ----------
    panel
        All of it that is there by now.
    """

    def __init__(self, panel: QWidget) -> None:
        super().__init__(panel)
        for kind in TAKE_THE_WHEEL:
            for widget in panel.findChildren(kind):
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)  # else the wheel itself brings the focus
                widget.installEventFilter(self)
        for bar in panel.findChildren(QTabBar):
            bar.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Whether the event is dealt with here."""
        if event is None or event.type() != QEvent.Type.Wheel or not isinstance(watched, QWidget):
            return False
        if watched.hasFocus() and not isinstance(watched, QTabBar):
            return False
        event.ignore()  # what is around the widget gets it, and scrolls
        return True
