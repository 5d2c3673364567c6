"""Keys of the panel: 1 to 4 switch modalities on and off, Esc cancels what runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QKeySequence, QShortcut
from qtpy.QtWidgets import QWidget

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import Status

if TYPE_CHECKING:
    from napari_shaspec.plugin.controller import Controller


class Keys(QObject):
    """Work wherever the focus is, on the canvas or in the panel, docked or floating, while the panel is shown.

    Parameters
    ----------
    panel
        In a viewer's window, or floating above it.
    controller
        Does what the keys say.
    """

    def __init__(self, panel: QWidget, controller: Controller) -> None:
        super().__init__(panel)
        self._panel = panel
        self._controller = controller
        toggles = [self._shortcut(str(number), partial(self._toggle, each)) for number, each in enumerate(Modality, 1)]
        self._escape = self._shortcut("Esc", self._cancel)
        self._shortcuts = [*toggles, self._escape]
        self._listening = controller.state.listen(status=self._on_work, sweeping=self._on_work)
        self._on_work()
        panel.installEventFilter(self)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:  # noqa: N802 (Qt's name)
        """Follow the panel when it is shown or hidden, which it also is between docked and floating."""
        if event is not None and event.type() in (QEvent.Type.Show, QEvent.Type.Hide):
            # Qt lets a floating dock use the keys of the window below it, and not the other way round. A hidden
            # panel has them itself: there they do nothing, and are napari's again.
            owner = _viewer_window(self._panel) if self._panel.isVisible() else self._panel
            for shortcut in self._shortcuts:
                shortcut.setParent(owner)
        return False

    def close(self) -> None:
        """The keys are napari's again."""
        self._panel.removeEventFilter(self)
        self._controller.state.forget(self._listening)
        for shortcut in self._shortcuts:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._shortcuts = []

    def _shortcut(self, keys: str, slot: Callable[[], None]) -> QShortcut:
        shortcut = QShortcut(QKeySequence(keys), self._panel)
        shortcut.activated.connect(slot)
        return shortcut

    def _toggle(self, modality: Modality) -> None:
        self._controller.set_available(modality, modality not in self._controller.state.available)

    def _cancel(self) -> None:
        """A prediction first; a sweep goes on behind it."""
        if self._controller.state.status is Status.RUNNING:
            self._controller.predictions.cancel()
        else:
            self._controller.sweeps.cancel()

    def _on_work(self, *_: object) -> None:
        state = self._controller.state
        self._escape.setEnabled(state.status is Status.RUNNING or state.sweeping)  # napari's polygon tool uses it too


def _viewer_window(panel: QWidget) -> QWidget | None:
    window = panel.window()
    above = None if window is None else window.parentWidget()
    return window if above is None else above.window()
