"""A mouse wheel over the panel and keys on closed lists, which must not touch the values."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtWidgets import QAbstractSpinBox, QApplication, QComboBox, QScrollArea, QSlider, QWidget

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from tests.widgets.conftest import finished

NOTCH = QPoint(0, -120)


def turn(widget: QWidget | None) -> None:
    """One notch down over a widget; Qt hands on what is ignored to what is around it, but only from a real mouse."""
    buttons, plain, phase = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
    accepted = False
    while widget is not None and not accepted:
        place = QPointF(widget.rect().center())
        event = QWheelEvent(place, widget.mapToGlobal(place), QPoint(), NOTCH, buttons, plain, phase, False)
        accepted = QApplication.sendEvent(widget, event) and event.isAccepted()
        widget = widget.parentWidget()


def test_the_wheel_scrolls_the_panel_and_changes_nothing(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    loaded.window().resize(1280, 500)  # low, so that there is something to scroll
    bar = loaded.findChild(QScrollArea).verticalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 200)
    slots, case = dict(loaded.state.slots), loaded.state.case
    row = loaded.modalities.layers[Modality.FLAIR]
    for widget in (row, loaded.run.device, loaded.overlay_panel.opacity, loaded.overlay_panel.thresholds[Region.ET]):
        shown = widget.currentText() if isinstance(widget, QComboBox) else widget.value()
        bar.setValue(0)
        turn(widget)
        assert bar.value() > 0
        assert (widget.currentText() if isinstance(widget, QComboBox) else widget.value()) == shown
    tabs = loaded.tabs.tabBar()
    tabs.setFocus()  # not even then: pages are of different heights
    bar.setValue(0)
    turn(tabs)
    assert bar.value() > 0
    assert loaded.tabs.currentIndex() == 0
    assert dict(loaded.state.slots) == slots
    assert loaded.state.case is case


def test_what_was_clicked_into_takes_the_wheel(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    loaded.window().activateWindow()
    qtbot.waitUntil(loaded.window().isActiveWindow)
    threshold = loaded.overlay_panel.thresholds[Region.ET]
    turn(threshold)
    assert threshold.value() == pytest.approx(0.5)
    qtbot.mouseClick(threshold, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(threshold.hasFocus)
    turn(threshold)
    assert threshold.value() == pytest.approx(0.45)


def test_the_wheel_alone_brings_no_focus(panel: ShaSpecWidget) -> None:
    kinds = (QComboBox, QAbstractSpinBox, QSlider)
    values = [widget for kind in kinds for widget in panel.findChildren(kind)]
    assert len(values) > 10
    assert {widget.focusPolicy() for widget in values} == {Qt.FocusPolicy.StrongFocus}


def test_arrows_open_a_row_and_choose_only_in_its_list(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    slots, case, result = dict(loaded.state.slots), loaded.state.case, loaded.state.result
    row = loaded.modalities.layers[Modality.FLAIR]
    key = Qt.Key
    for pressed in (key.Key_Down, key.Key_Up, key.Key_Home, key.Key_End, key.Key_PageUp, key.Key_PageDown):
        for box in (row, loaded.run.model, loaded.run.device):
            before = box.currentText()
            qtbot.keyClick(box, pressed)
            qtbot.waitUntil(box.view().isVisible)
            assert box.currentText() == before
            box.hidePopup()
    assert (dict(loaded.state.slots), loaded.state.case) == (slots, case)
    qtbot.keyClick(row, key.Key_Down)
    qtbot.waitUntil(row.view().isVisible)
    chosen = [row.itemText(index) for index in range(row.count())].index("T2")
    for _ in range(chosen - row.currentIndex()):  # past the layers of other rows, which keep them
        qtbot.keyClick(row.view(), key.Key_Down)
    assert dict(loaded.state.slots) == slots
    qtbot.keyClick(row.view(), key.Key_Return)
    qtbot.waitUntil(lambda: loaded.state.slots.get(Modality.FLAIR) == "T2")
    assert loaded.state.slots == {Modality.FLAIR: "T2", Modality.T1: "T1", Modality.T1C: "T1c"}
    finished(loaded, qtbot, result)
