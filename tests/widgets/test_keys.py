"""Keys from the canvas and from the panel, docked or floating, in one viewer or two."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from napari import Viewer
from napari.qt import QtViewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut
from qtpy.QtWidgets import QDockWidget, QWidget

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import Status
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from tests.widgets.conftest import LONG_MS, finished

ALL = frozenset(Modality)
KEYS = {"1", "2", "3", "4", "Esc"}


def dock_of(panel: QWidget) -> QDockWidget:
    above = panel.parent()
    while not isinstance(above, QDockWidget):
        above = above.parent()
    return above


def press(widget: QWidget, key: Qt.Key, qtbot: QtBot) -> None:
    """On a widget whose window is the active one: asked for again, because one that comes up late takes it over."""

    def active() -> bool:
        widget.window().activateWindow()
        return widget.window().isActiveWindow()

    qtbot.waitUntil(active, timeout=LONG_MS)
    qtbot.keyClick(widget, key)


def shortcuts(viewer: Viewer) -> list[str]:
    """Those of the viewer's window that are the panel's."""
    window = viewer.window._qt_window
    keys = [each.key().toString() for each in window.findChildren(QShortcut) if each.isEnabled()]
    return sorted(KEYS.intersection(keys))


@pytest.fixture
def idle(loaded: ShaSpecWidget) -> ShaSpecWidget:
    """A toggle only switches: nothing runs that has to be waited for."""
    loaded.controller.predictions.set_live(False)
    return loaded


@pytest.fixture
def floating(idle: ShaSpecWidget) -> Iterator[ShaSpecWidget]:
    dock_of(idle).setFloating(True)
    yield idle
    dock_of(idle).setFloating(False)


def test_keys_work_on_the_canvas_below_a_floating_panel(floating: ShaSpecWidget, qtbot: QtBot) -> None:
    layer = floating.overlay.layer
    floating.viewer.layers.selection.active = layer
    mode = layer.mode
    canvas = floating.viewer.window._qt_window.findChild(QtViewer)
    assert canvas.window() is not floating.window()
    press(canvas, Qt.Key.Key_2, qtbot)
    assert floating.state.available == ALL - {Modality.T1}
    assert layer.mode == mode  # 2 is napari's key for the brush
    press(floating, Qt.Key.Key_2, qtbot)
    assert floating.state.available == ALL


def test_keys_work_after_floating_and_docking(floating: ShaSpecWidget, qtbot: QtBot) -> None:
    dock_of(floating).setFloating(False)
    canvas = floating.window().findChild(QtViewer)
    for widget, available in ((canvas, ALL - {Modality.T1C}), (floating, ALL)):
        press(widget, Qt.Key.Key_3, qtbot)  # which two owners of a key would leave to neither
        assert floating.state.available == available


def test_escape_cancels_below_a_floating_panel_and_is_napari_s_otherwise(floating: ShaSpecWidget, qtbot: QtBot) -> None:
    canvas = floating.viewer.window._qt_window.findChild(QtViewer)
    assert "Esc" not in shortcuts(floating.viewer)
    floating.predict()
    assert floating.state.status is Status.RUNNING
    press(canvas, Qt.Key.Key_Escape, qtbot)
    assert floating.state.status is Status.READY
    assert floating.run.message.text().startswith("Cancelled")


def test_the_keys_of_a_hidden_or_closed_panel_are_napari_s(idle: ShaSpecWidget, qtbot: QtBot) -> None:
    viewer, layer = idle.viewer, idle.overlay.layer
    canvas = idle.window().findChild(QtViewer)
    viewer.layers.selection.active = layer
    layer.editable = True
    dock = dock_of(idle)
    dock.hide()
    layer.mode = "pan_zoom"
    press(canvas, Qt.Key.Key_2, qtbot)
    assert layer.mode == "paint"
    assert idle.state.available == ALL
    dock.show()
    press(canvas, Qt.Key.Key_1, qtbot)
    assert idle.state.available == ALL - {Modality.FLAIR}
    viewer.window.remove_dock_widget(idle)
    layer.mode = "pan_zoom"
    press(canvas, Qt.Key.Key_2, qtbot)
    assert layer.mode == "paint"
    assert shortcuts(viewer) == []
    _, again = viewer.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    finished(again, qtbot)
    again.controller.predictions.set_live(False)
    press(canvas, Qt.Key.Key_2, qtbot)
    assert again.state.available == ALL - {Modality.T1}


def test_keys_are_those_of_the_viewer_in_front(
    idle: ShaSpecWidget, make_napari_viewer: Callable[..., Viewer], qtbot: QtBot
) -> None:
    other = make_napari_viewer(show=True)
    _, second = other.window.add_plugin_dock_widget("napari-shaspec", "ShaSpec")
    dock_of(second).setFloating(True)
    press(second, Qt.Key.Key_1, qtbot)
    assert idle.state.available == ALL
    press(idle.window().findChild(QtViewer), Qt.Key.Key_1, qtbot)
    assert idle.state.available == ALL - {Modality.FLAIR}
    other.window.remove_dock_widget(second)
    press(idle.window().findChild(QtViewer), Qt.Key.Key_1, qtbot)
    assert idle.state.available == ALL
