"""The plot of features beside a real napari window: points lead to places, and a line around them marks voxels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event, Timer

import numpy as np
import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QPoint, Qt

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation import feature_space
from napari_shaspec.inference.feature_choice import FeatureKind
from napari_shaspec.inference.session import Session
from napari_shaspec.plugin.feature_marks import MARKS_NAME
from napari_shaspec.plugin.layers import Placement
from napari_shaspec.plugin.sessions import load_weights
from napari_shaspec.widgets import commands, feature_plot
from napari_shaspec.widgets.feature_plot import NAME, FeaturePlotDock
from napari_shaspec.widgets.shaspec import ShaSpecWidget
from tests.widgets.conftest import LONG_MS, write_case

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def dock(panel: ShaSpecWidget, case_folder: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> FeaturePlotDock:
    """Beside a panel with a case that nobody has predicted: features need no prediction."""
    monkeypatch.setattr(feature_space, "MOST_POINTS", 160)
    panel.state.live = False
    panel.open_paths([str(case_folder)])
    qtbot.waitUntil(lambda: panel.state.case is not None, timeout=LONG_MS)
    commands.show_feature_plot()
    dock = panel.viewer.window.dock_widgets[NAME]
    assert isinstance(dock, FeaturePlotDock)
    return dock


def on_canvas(dock: FeaturePlotDock, at: np.ndarray) -> QPoint:
    """Where a place in the plot is drawn, in Qt's pixels from the upper left."""
    canvas = dock.canvas
    x, y = canvas.axes.transData.transform(at) / canvas.device_pixel_ratio
    return QPoint(round(x), round(canvas.height() - y))


def check_click(dock: FeaturePlotDock, wanted: int, qtbot: QtBot) -> None:
    """A click on a point moves the slices and the cross to its place."""
    placed, viewer = dock.placed, dock._viewer
    assert placed is not None
    with qtbot.waitSignal(dock.canvas.picked, timeout=LONG_MS) as signal:
        qtbot.mouseClick(dock.canvas, LEFT, pos=on_canvas(dock, placed.plot.placed[wanted]))
    (point,) = signal.args
    # Another point may lie as near to the pixel.
    between = on_canvas(dock, placed.plot.placed[point]) - on_canvas(dock, placed.plot.placed[wanted])
    assert between.manhattanLength() <= 3
    place_mm = placed.place_mm(point)
    steps = np.array([each.step for each in viewer.dims.range])
    assert (np.abs(np.array(viewer.dims.point) - place_mm[::-1]) <= steps / 2 + 1e-6).all()
    layer = dock.layers.place
    assert layer is not None
    np.testing.assert_allclose(layer.data_to_world(layer.data[0]), viewer.dims.point, atol=1e-6)
    assert f"at {place_mm[0]:.0f}, {place_mm[1]:.0f}, {place_mm[2]:.0f} mm" in dock.message.text()


def draw_around_the_left_half(dock: FeaturePlotDock, qtbot: QtBot) -> np.ndarray:
    """With the mouse; the points that it gives, checked against where they are drawn."""
    placed, canvas = dock.placed, dock.canvas
    assert placed is not None
    at = placed.plot.placed
    low, high = at.min(0), at.max(0)
    middle, reach = (low[0] + high[0]) / 2, (high - low) / 50
    (left, bottom), (_, top) = low - reach, high + reach
    corners = [
        on_canvas(dock, np.array(each)) for each in [(left, bottom), (left, top), (middle, top), (middle, bottom)]
    ]
    qtbot.mousePress(canvas, LEFT, pos=corners[0])
    for corner in corners[1:]:
        qtbot.mouseMove(canvas, corner)
    with qtbot.waitSignal(canvas.enclosed, timeout=LONG_MS) as signal:
        qtbot.mouseRelease(canvas, LEFT, pos=corners[0])
    (points,) = signal.args
    clear = np.abs(at[:, 0] - middle) > reach[0]
    expected = placed.plot.cloud.of_kind(FeatureKind.SPECIFIC) & (at[:, 0] < middle)
    inside = np.isin(np.arange(len(at)), points)
    np.testing.assert_array_equal(inside[clear], expected[clear])
    assert inside.any()
    return np.asarray(points)


def test_points_lead_to_places_and_mark_voxels(dock: FeaturePlotDock, panel: ShaSpecWidget, qtbot: QtBot) -> None:
    qtbot.mouseClick(dock.button, LEFT)
    assert dock.button.text() == "Cancel"
    qtbot.waitUntil(lambda: dock.placed is not None and dock.button.text() != "Cancel", timeout=LONG_MS)
    placed, viewer = dock.placed, panel.viewer
    assert placed is not None
    assert dock.scores.text().replace("<br>", "; ") == placed.plot.describe()
    assert all(name in dock.legend.text() for name in ("FLAIR", "T1", "T1c", "T2"))
    steps = [each.step for each in viewer.dims.range]
    for wanted in (0, len(placed.plot.placed) - 1):
        check_click(dock, wanted, qtbot)
    assert [each.step for each in viewer.dims.range] == steps

    dock.kinds[FeatureKind.SHARED].click()  # hidden points are left out
    points = draw_around_the_left_half(dock, qtbot)
    layer, image = viewer.layers[MARKS_NAME], viewer.layers["FLAIR"]
    assert layer.data.shape == image.data.shape
    np.testing.assert_allclose(layer.affine.affine_matrix, image.affine.affine_matrix)
    cloud, grid = placed.plot.cloud, placed.grid
    for point in points:
        index = Placement.of(grid).file_index(placed.place_mm(point)[::-1])
        assert index is None or Placement.of(grid).to_file(layer.data)[index] in (
            cloud.modalities[point] + 1,
            placed.several,
        )
    # A cell is a cube of voxels, some of which may lie outside of the image.
    cells_mm3 = len(np.unique(cloud.sources[points])) * placed.features.lattice.cell_mm**3
    assert 0.5 * cells_mm3 < np.count_nonzero(layer.data) * grid.voxel_volume_mm3 <= 1.3 * cells_mm3
    assert set(panel.state.slots.values()) == {"FLAIR", "T1", "T1c", "T2"}  # the new layers are no images of the case

    qtbot.mouseClick(dock.clear, LEFT)
    assert MARKS_NAME not in viewer.layers
    dock.layers.mark(placed, points)
    other = write_case(case_folder_of(panel).parent / "other", seed=4)
    panel.open_paths([str(other)])
    qtbot.waitUntil(lambda: panel.state.case is not None and panel.state.case.name == "other", timeout=LONG_MS)
    assert dock.placed is None
    assert dock.scores.text() == ""
    assert MARKS_NAME not in viewer.layers


def case_folder_of(panel: ShaSpecWidget) -> Path:
    assert panel.state.case is not None
    return next(iter(panel.state.case.files.values())).parent


def test_cancel_errors_and_the_end(
    dock: FeaturePlotDock, panel: ShaSpecWidget, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, gate = Event(), Event()

    def waiting(*arguments: object) -> Session:
        reached.set()
        assert gate.wait(60)
        raise ShaSpecError("a device with memory", "a full one", "Close other programs")

    monkeypatch.setattr(feature_plot, "open_session", waiting)
    qtbot.mouseClick(dock.button, LEFT)
    qtbot.waitUntil(reached.is_set, timeout=LONG_MS)
    qtbot.mouseClick(dock.button, LEFT)
    assert dock.message.text() == "Cancelled."
    assert dock.button.text() == "Compute the plot"
    gate.set()
    qtbot.mouseClick(dock.button, LEFT)
    qtbot.waitUntil(lambda: not dock._work.running, timeout=LONG_MS)
    assert "a device with memory" in dock.message.text()
    assert dock.bar.isHidden()
    assert dock.placed is None

    gate.clear()
    reached.clear()
    work, viewer = dock._work, panel.viewer
    dock.compute()
    qtbot.waitUntil(reached.is_set, timeout=LONG_MS)
    Timer(0.2, gate.set).start()  # the thread is in the middle when the panel is closed
    viewer.window.remove_dock_widget(panel)
    assert dock._closed
    assert all(handle.wait(0) for handle in work._handles)
    # Opened again it is another one, of a new panel; and it can be closed by itself.
    commands.show_feature_plot()
    again = viewer.window.dock_widgets[NAME]
    assert again is not dock
    assert not again._closed
    viewer.window.remove_dock_widget(again)
    assert again._closed


def test_another_network_takes_the_plot_away(dock: FeaturePlotDock, panel: ShaSpecWidget, qtbot: QtBot) -> None:
    dock.compute()
    qtbot.waitUntil(lambda: dock.placed is not None and not dock._work.running, timeout=LONG_MS)
    controller = panel.controller
    checkpoint = load_weights(controller.weights)
    controller.set_model(controller.weights, checkpoint)  # the same once more
    assert dock.placed is not None
    controller.set_model(controller.weights, replace(checkpoint, sha256="0" * 64))
    assert dock.placed is None
    assert dock.scores.text() == ""
    dock.compute()
    qtbot.waitUntil(lambda: dock.placed is not None and not dock._work.running, timeout=LONG_MS)
    dock.compute()
    dock.cancel()
    assert dock.placed is not None
    controller.set_model(controller.weights, checkpoint)  # whatever was asked for since
    assert dock.placed is None
    dock.compute()
    qtbot.waitUntil(lambda: dock.placed is not None and not dock._work.running, timeout=LONG_MS)
    dock.compute()
    controller.set_model(controller.weights, replace(checkpoint, sha256="0" * 64))  # while it is computed
    qtbot.waitUntil(lambda: not dock._work.running, timeout=LONG_MS)
    assert dock.placed is None
