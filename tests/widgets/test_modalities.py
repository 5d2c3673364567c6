"""The rows of the modalities, by themselves."""

from __future__ import annotations

from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import PluginState, Status
from napari_shaspec.widgets.modalities import ModalitiesPanel


def test_a_row_without_a_case_says_what_is_lacking(qtbot: QtBot) -> None:
    state = PluginState()
    panel = ModalitiesPanel(state)
    qtbot.addWidget(panel)
    box, text = panel.boxes[Modality.T1], panel.states[Modality.T1]
    assert (box.toolTip(), text.text()) == ("No T1 is loaded. Drop one on the canvas.", "missing")
    state.images = ("volume",)
    assert box.toolTip() == "No T1 is loaded. Drop one on the canvas, or choose a layer for it."
    state.slots = {Modality.T1: "volume"}
    state.status = Status.ASSEMBLING
    assert (box.toolTip(), text.text()) == ("The images are being brought onto one grid.", "loaded")
    state.status = Status.EMPTY
    assert box.toolTip().startswith("The images in the rows do not make a case")
    assert text.text() == "loaded, but the images do not make a case"
    assert panel.states[Modality.T2].text() == "missing"
    panel.close_panel()


def test_the_layers_of_a_row_tell_their_files(qtbot: QtBot) -> None:
    panel = ModalitiesPanel(PluginState())
    qtbot.addWidget(panel)
    origins = {"FLAIR [1]": "two/q_flair.nii.gz", "FLAIR": "one/p_flair.nii.gz", "made here": ""}
    panel.set_layers(origins)
    for row in panel.layers.values():
        assert [row.itemText(index) for index in range(row.count())] == ["no layer", *origins]
        tips = [row.itemData(index, Qt.ItemDataRole.ToolTipRole) for index in range(1, row.count())]
        assert tips == list(origins.values())
    panel.close_panel()
