"""The other two planes below a real napari canvas."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from napari import Viewer
from napari.qt import QtViewer
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt

from napari_shaspec.plugin.crosshair import CROSS_NAME
from napari_shaspec.widgets import commands
from napari_shaspec.widgets.planes import NAME, PlanesDock
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from tests.widgets.conftest import LONG_MS, finished, write_case


@pytest.fixture
def dock(panel: ShaSpecWidget, tmp_path: Path, qtbot: QtBot) -> PlanesDock:
    """Beside an oblique case that has been predicted."""
    panel.open_paths([str(write_case(tmp_path / "oblique", oblique=True))])
    finished(panel, qtbot)
    qtbot.mouseClick(panel.overlay_panel.planes, Qt.MouseButton.LeftButton)
    dock = panel.viewer.window.dock_widgets[NAME]
    assert isinstance(dock, PlanesDock)
    # Once it has its size, all of the images is in view.
    qtbot.waitUntil(lambda: dock.views[0].height() > 100 and not dock._settle_size.isActive(), timeout=LONG_MS)
    return dock


def on_canvas(dock: PlanesDock, index: int, world: np.ndarray) -> QPoint:
    """Where a place of the world is drawn in a plane, in pixels from the upper left."""
    view, model = dock.views[index], dock.planes[index].model
    shown = list(model.dims.displayed)
    scene = view.canvas.view.scene.transform
    column, row = world[shown[1]], world[shown[0]]
    x, y = scene.map([column, row, 0, 1])[:2]
    return QPoint(round(float(x)), round(float(y)))


def check_a_click_moves_every_view(dock: PlanesDock, viewer: Viewer, qtbot: QtBot) -> None:
    labels = viewer.layers["ShaSpec labels"]
    assert [plane.model.dims.order[0] for plane in dock.planes] == [1, 2]
    assert [title.text().split(":")[0] for title in dock.titles] == ["Coronal", "Sagittal"]
    sagittal = dock.planes[1].model
    wanted = np.array(labels.data.shape) // 3
    world = np.asarray(labels.data_to_world(wanted))
    before = viewer.dims.point[2]
    native = dock.views[1].canvas.native
    qtbot.mouseClick(native, Qt.MouseButton.LeftButton, pos=on_canvas(dock, 1, world))
    steps = np.array([entry.step for entry in viewer.dims.range])
    np.testing.assert_array_less(np.abs(np.array(viewer.dims.point) - [*world[:2], before]), steps)
    coronal = dock.planes[0].model
    assert coronal.dims.point[1] == pytest.approx(viewer.dims.point[1])
    assert sagittal.dims.point[2] == pytest.approx(before)
    cross = viewer.layers[CROSS_NAME]
    place = np.linalg.solve(cross.affine.affine_matrix, [*viewer.dims.point, 1])[:3]
    np.testing.assert_allclose([cross.data[1, 0, 0], cross.data[0, 0, 1], cross.data[0, 0, 2]], place, atol=1e-4)


def check_labels_are_painted(dock: PlanesDock, panel: ShaSpecWidget, qtbot: QtBot) -> None:
    plane = dock.planes[0]
    labels = panel.viewer.layers["ShaSpec labels"]
    copy = plane.copy_of(labels)
    assert copy is not None
    drawn = copy._slice.image.raw.copy()
    before = panel.state.result
    panel.controller.solo(min(panel.state.available))
    finished(panel, qtbot, before)
    axis = plane.model.dims.order[0]
    index = round(copy._data_slice.point[axis])
    wanted = labels.data.take(index, axis)
    assert not np.array_equal(wanted, drawn)  # or the test could not fail
    qtbot.waitUntil(lambda: np.array_equal(copy._slice.image.raw, wanted), timeout=LONG_MS)


def check_shown_straight_and_saved_as_it_lies(panel: ShaSpecWidget, tmp_path: Path) -> None:
    viewer, labels = panel.viewer, panel.viewer.layers["ShaSpec labels"]
    for layer in viewer.layers:
        assert np.count_nonzero(np.abs(layer.affine.linear_matrix) > 1e-9) == 3
    for name in ("FLAIR", "T1", "Reference"):
        np.testing.assert_allclose(viewer.layers[name].affine.affine_matrix, labels.affine.affine_matrix)
    assert not any("moved" in said for said in panel.layers.warnings().values())
    labels.save(str(tmp_path / "seg.nii.gz"), plugin="napari-shaspec")
    image = next((tmp_path / "oblique").glob("*flair*"))
    np.testing.assert_allclose(nib.load(tmp_path / "seg.nii.gz").affine, nib.load(image).affine, atol=1e-6)


def test_planes_of_an_oblique_case(
    dock: PlanesDock, panel: ShaSpecWidget, viewer: Viewer, tmp_path: Path, qtbot: QtBot
) -> None:
    """One window for all of it: each takes seconds to come and go."""
    check_a_click_moves_every_view(dock, viewer, qtbot)
    check_shown_straight_and_saved_as_it_lies(panel, tmp_path)
    check_labels_are_painted(dock, panel, qtbot)
    viewer.dims.order = (1, 0, 2)
    assert [plane.model.dims.order[0] for plane in dock.planes] == [0, 2]
    assert dock.titles[0].text().startswith("Axial")


def test_the_dock_opens_once_and_leaves_nothing(dock: PlanesDock, panel: ShaSpecWidget, qtbot: QtBot) -> None:
    viewer = panel.viewer
    commands.show_planes()
    assert viewer.window.dock_widgets[NAME] is dock
    assert len(QtViewer._instances) == 3
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: len(QtViewer._instances) == 1, timeout=LONG_MS)
    assert CROSS_NAME not in viewer.layers
    commands.show_planes()
    again = viewer.window.dock_widgets[NAME]
    assert again is not dock
    panel.shut_down()
    assert again._closed
    viewer.dims.set_current_step(0, 3)
