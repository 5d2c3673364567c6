"""What a screen reader says of the panel."""

from __future__ import annotations

from collections import Counter

from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QAbstractButton, QAbstractSpinBox, QComboBox, QLabel, QLineEdit, QSlider, QWidget

from napari_shaspec.widgets.shaspec import ShaSpecWidget

KINDS = (QAbstractButton, QAbstractSpinBox, QComboBox, QLineEdit, QSlider)


def names(panel: ShaSpecWidget) -> dict[QWidget, str]:
    """As Qt makes them: the name that was given, the text of a button, or that of the label in front."""
    labels = {label.buddy(): label.text() for label in panel.findChildren(QLabel)}
    widgets = [widget for kind in KINDS for widget in panel.findChildren(kind)]
    own = [each for each in widgets if not each.objectName().startswith("qt_")]  # the others are parts of these
    return {
        each: each.accessibleName() or (each.text() if isinstance(each, QAbstractButton) else labels.get(each, ""))
        for each in own
    }


def test_whatever_can_be_set_has_a_name_of_its_own(panel: ShaSpecWidget) -> None:
    said = names(panel)
    assert [widget.objectName() for widget, name in said.items() if not name] == []
    assert [name for name, times in Counter(said.values()).items() if times > 1] == []
    expected = ("Show ET", "Fill WT", "FLAIR alone", "Layer for T1c", "Threshold of TC", "Model", "Case folder")
    assert set(expected) <= set(said.values())
    assert {solo.text() for solo in panel.modalities.solos.values()} == {"solo"}  # as it was, to the eye


def test_tab_leaves_tables(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    """And switches no modalities on its way, as the arrows do."""
    qtbot.mouseClick(loaded.subsets_panel.button, Qt.MouseButton.LeftButton)
    loaded.tabs.setCurrentWidget(loaded.subsets_panel)
    qtbot.waitUntil(lambda: loaded.state.swept is not None and not loaded.state.sweeping, timeout=60_000)
    loaded.window().activateWindow()
    qtbot.waitUntil(loaded.window().isActiveWindow)
    available = loaded.state.available
    for table in (loaded.regions.table, loaded.subsets_panel.table, loaded.subsets_panel.adds):
        table.setFocus()
        qtbot.waitUntil(table.hasFocus)
        qtbot.keyClick(table, Qt.Key.Key_Tab)
        assert not table.hasFocus()
    assert loaded.state.available == available
