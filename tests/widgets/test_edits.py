"""What painting, undo and a view in 3-D leave to the answers that come after."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pytestqt.qtbot import QtBot
from qtpy.QtCore import Qt

from napari_shaspec.modalities import Modality
from napari_shaspec.regions import Region
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from tests.widgets.conftest import LONG_MS, finished


def stroke(panel: ShaSpecWidget) -> tuple[int, ...]:
    """One dab of the brush where the labels are something else."""
    layer = panel.overlay.layer
    assert layer is not None
    place = tuple(side // 2 for side in layer.data.shape)
    layer.selected_label = 4 if layer.data[place] != 4 else 2
    layer.brush_size = 5
    layer.paint(place, layer.selected_label)
    return place


def test_labels_come_in_3d_where_the_mouse_has_not_been(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot) -> None:
    panel.viewer.dims.ndisplay = 3
    panel.open_paths([str(case_folder)])
    finished(panel, qtbot)
    assert panel.overlay.layer in panel.viewer.layers
    panel.viewer.dims.ndisplay = 2
    panel.viewer.cursor._view_direction = None  # as after the mouse has moved in 2-D
    stroke(panel)
    panel.viewer.dims.ndisplay = 3
    before = panel.state.result
    panel.controller.set_available(Modality.T1, False)
    finished(panel, qtbot, before)
    assert [layer.name for layer in panel.viewer.layers].count("ShaSpec labels") == 1


def test_undo_brings_nothing_of_an_earlier_answer(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    layer = loaded.overlay.layer
    stroke(loaded)
    layer.undo()
    loaded.overlay_panel.thresholds[Region.WT].setValue(0.3)
    qtbot.waitUntil(lambda: loaded.state.result.thresholds[Region.WT] == 0.3, timeout=LONG_MS)
    answer = loaded.overlay.labels().copy()
    assert loaded.overlay.layer is layer
    assert layer.editable
    layer.redo()
    layer.undo()
    np.testing.assert_array_equal(loaded.overlay.labels(), answer)


def test_outlines_are_of_the_labels_that_are_shown(loaded: ShaSpecWidget, qtbot: QtBot) -> None:
    loaded.tabs.setCurrentWidget(loaded.features_panel)
    qtbot.mouseClick(loaded.features_panel.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(loaded.features.outlines) == len(Modality), timeout=LONG_MS)
    before = loaded.overlay.layer
    stroke(loaded)
    loaded.predict()
    loaded.controller.predictions.cancel()
    qtbot.waitUntil(lambda: loaded.overlay.layer is not before, timeout=LONG_MS)
    for outline in loaded.features.outlines.values():
        assert np.shares_memory(outline.data, loaded.overlay.layer.data)
        assert not np.shares_memory(outline.data, before.data)
    names = [layer.name for layer in loaded.viewer.layers]
    for modality, outline in loaded.features.outlines.items():
        assert names.index(outline.name) == names.index(loaded.features.maps[modality].name) + 1
