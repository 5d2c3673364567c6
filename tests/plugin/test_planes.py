"""Other planes show what the viewer shows, and follow what is changed, painted, added, moved and taken away."""

from __future__ import annotations

from collections.abc import Iterator

import nibabel as nib
import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Layer, Points, Shapes

from napari_shaspec.plugin.crosshair import CROSS_NAME, LINE_PIXELS, Crosshair
from napari_shaspec.plugin.layers import Placement
from napari_shaspec.plugin.planes import Plane, go_on_click
from napari_shaspec.volume import Volume

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")

OBLIQUE = nib.affines.from_matvec(
    nib.eulerangles.euler2mat(0.1, -0.2, 0.15) @ np.diag([1.0, 1.5, 3.0]), np.array([-12.0, 30.0, 5.0])
)


STRAIGHT = np.array([[-1.5, 0, 0, 30], [0, 0, 1, -20], [0, -3, 0, 14], [0, 0, 0, 1.0]])


@pytest.fixture(params=[STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def grid(request: pytest.FixtureRequest) -> Volume:
    return Volume(np.random.default_rng(5).normal(size=(20, 16, 9)).astype(np.float32), request.param)


@pytest.fixture
def viewer(grid: Volume) -> ViewerModel:
    """Two images and labels of an anisotropic case."""
    viewer, placement = ViewerModel(), Placement.of(grid)
    for name in ("FLAIR", "T1"):
        viewer.add_layer(Image(placement.to_display(grid.data), name=name, **placement.keywords()))
    labels = np.zeros(grid.shape, np.uint8)
    viewer.add_layer(Labels(placement.to_display(labels), name="labels", **placement.keywords()))
    return viewer


class Stale:
    """Counts how often a plane was told that somebody has painted."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def stale() -> Stale:
    return Stale()


@pytest.fixture
def plane(viewer: ViewerModel, stale: Stale) -> Iterator[Plane]:
    plane = Plane(viewer, 2, stale)
    yield plane
    plane.close()


def shown(plane: Plane, layer: Layer) -> Layer:
    copy = plane.copy_of(layer)
    assert copy is not None
    return copy


def test_layers_are_shown_in_their_memory_and_place(viewer: ViewerModel, plane: Plane) -> None:
    assert [layer.name for layer in plane.model.layers] == [layer.name for layer in viewer.layers]
    for layer in viewer.layers:
        copy = shown(plane, layer)
        assert np.shares_memory(copy.data, layer.data)
        np.testing.assert_allclose(copy.affine.affine_matrix, layer.affine.affine_matrix)
        assert not copy.editable
    assert plane.model.dims.order == (2, 0, 1)
    assert plane.model.layers.selection.active is None
    plane.cut(1)
    assert plane.model.dims.order == (1, 0, 2)


def test_each_view_shows_the_slice_through_the_place(viewer: ViewerModel, plane: Plane) -> None:
    layer = viewer.layers["FLAIR"]
    sides = layer.data.shape
    for voxel in np.random.default_rng(7).integers(1, np.array(sides) - 1, (4, 3)):
        viewer.dims.set_point(range(3), layer.data_to_world(voxel))
        np.testing.assert_array_equal(shown(plane, layer)._slice.image.raw, layer.data[:, :, voxel[2]])
        np.testing.assert_array_equal(layer._slice.image.raw, layer.data[voxel[0]])


def test_looks_are_taken_over(viewer: ViewerModel, plane: Plane) -> None:
    image, labels = viewer.layers["T1"], viewer.layers["labels"]
    image.visible, image.opacity, image.contrast_limits, image.gamma = False, 0.3, (-1, 2), 0.7
    labels.contour, labels.selected_label, labels.show_selected_label = 2, 4, True
    copy, copied = shown(plane, image), shown(plane, labels)
    assert (copy.visible, copy.opacity, copy.gamma) == (False, 0.3, 0.7)
    assert list(copy.contrast_limits) == [-1, 2]
    assert (copied.contour, copied.selected_label, copied.show_selected_label) == (2, 4, True)
    image.data = image.data + 1
    np.testing.assert_array_equal(copy.data, image.data)
    assert shown(Plane(viewer, 1, lambda: None), labels).contour == 2  # of one that comes later, too


def test_layers_come_move_and_go(viewer: ViewerModel, plane: Plane, grid: Volume) -> None:
    more = viewer.add_image(np.zeros((4, 5, 6)), name="more")
    viewer.add_layer(Shapes(np.zeros((1, 2, 3)), shape_type="line", name="left out"))
    flat = viewer.add_image(np.zeros((5, 6)), name="two axes")
    viewer.layers.move(viewer.layers.index(more), 0)
    names = [layer.name for layer in viewer.layers if layer.name not in ("left out", "two axes")]
    assert [layer.name for layer in plane.model.layers] == names
    assert plane.copy_of(flat) is None
    viewer.layers.remove(more)
    assert "more" not in [layer.name for layer in plane.model.layers]
    assert more.events.visible.callbacks == () or all(
        "Plane" not in repr(each) for each in more.events.visible.callbacks
    )


def test_points_are_as_large_as_they_come(viewer: ViewerModel, plane: Plane) -> None:
    points = viewer.add_points(ndim=3, name="place")
    points.current_size = 7
    points.data = np.array([[1.0, 2.0, 3.0]])
    copy = shown(plane, points)
    assert isinstance(copy, Points)
    np.testing.assert_array_equal(copy.data, points.data)
    np.testing.assert_array_equal(copy.size, points.size)


def test_places_are_shared_along_the_plane_s_axis(viewer: ViewerModel, plane: Plane) -> None:
    first = viewer.dims.point
    wanted = [entry.start + 3 * entry.step for entry in viewer.dims.range]
    viewer.dims.set_point(range(3), wanted)
    assert plane.model.dims.point[2] == pytest.approx(wanted[2])
    step = viewer.dims.range[2].step
    plane.model.dims.set_point(2, wanted[2] + 2 * step)
    assert viewer.dims.point == pytest.approx((*wanted[:2], wanted[2] + 2 * step))
    assert viewer.dims.point != first
    plane.model.dims.order = (0, 1, 2)  # as by a key in the plane
    assert plane.model.dims.order == (2, 0, 1)


def test_painting_is_told_and_scrolling_is_not(viewer: ViewerModel, plane: Plane, stale: Stale) -> None:
    labels = viewer.layers["labels"]
    middle = tuple(side // 2 for side in labels.data.shape)
    viewer.dims.set_point(range(3), labels.data_to_world(middle))
    stale.times = 0
    for entry in (0, 3, 5):
        viewer.dims.set_current_step(0, entry)
    assert stale.times == 0
    viewer.dims.set_point(range(3), labels.data_to_world(middle))
    labels.data[middle] = 4
    labels.refresh()
    assert stale.times > 0
    plane.refresh()
    assert 4 in shown(plane, labels)._slice.image.raw


def test_nothing_is_left_behind(viewer: ViewerModel, stale: Stale) -> None:
    def connected() -> int:
        emitters = [viewer.layers.events, viewer.dims.events, viewer.events, *(each.events for each in viewer.layers)]
        return sum(len(each.callbacks) for group in emitters for each in group.emitters.values())

    before = connected()
    plane = Plane(viewer, 1, stale)
    assert connected() > before
    plane.close()
    assert connected() == before
    assert not plane.model.layers


def test_the_crosshair_lies_where_the_views_are(viewer: ViewerModel, grid: Volume) -> None:
    placement, active = Placement.of(grid), viewer.layers["T1"]
    viewer.layers.selection.active = active
    ranges = viewer.dims.range
    cross = Crosshair(viewer)
    cross.lie_on(grid)
    layer = cross.layer
    assert layer is not None
    assert layer.name == CROSS_NAME
    assert viewer.layers.selection.active is active
    assert viewer.dims.range == ranges  # it makes the sliders no longer
    voxel = np.array([5, 7, 11])
    viewer.dims.set_point(range(3), (placement.affine @ np.append(voxel, 1.0))[:3])
    sides = placement.to_ras_shape()[::-1]
    for axis in range(3):
        begin, length = layer.data[axis]
        np.testing.assert_allclose(np.delete(begin, axis), np.delete(voxel, axis), atol=1e-5)
        assert (begin[axis], length[axis]) == (0, sides[axis] - 1)
        assert np.count_nonzero(length) == 1
    plane = Plane(viewer, 2, lambda: None)
    copy = shown(plane, layer)
    viewer.dims.set_point(0, viewer.dims.range[0].start)
    np.testing.assert_array_equal(copy.data, layer.data)
    for model, lines in ((viewer, layer), (plane.model, copy)):
        model.scene.camera.zoom = 4.0
        assert lines.edge_width * 4.0 * min(grid.voxel_mm) == pytest.approx(LINE_PIXELS)
    plane.close()
    cross.lie_on(None)
    assert CROSS_NAME not in viewer.layers
    cross.lie_on(grid)
    viewer.layers.remove(CROSS_NAME)  # by the user
    viewer.dims.set_point(0, viewer.dims.range[0].stop)
    assert cross.layer is None
    cross.close()


class MouseEvent:
    """What napari hands a mouse callback."""

    def __init__(self, position: tuple[float, ...]) -> None:
        self.type, self.pos, self.position = "mouse_press", (50.0, 60.0), position


@pytest.mark.parametrize("dragged", [0, 2, 30])
def test_a_click_moves_the_place_and_a_drag_does_not(viewer: ViewerModel, dragged: int) -> None:
    viewer.layers.selection.active = None
    before = viewer.dims.point
    place = tuple(entry.start + 2 * entry.step for entry in viewer.dims.range)
    event = MouseEvent(place)
    callback = go_on_click(viewer, viewer, event)
    next(callback)
    event.type, event.pos = "mouse_move", (50.0 + dragged, 60.0)
    assert next(callback, "over") == ("over" if dragged == 30 else None)
    if dragged < 30:
        event.type = "mouse_release"
        assert next(callback, "over") == "over"
    assert viewer.dims.point == pytest.approx(before if dragged == 30 else place)


def test_a_brush_moves_nothing(viewer: ViewerModel) -> None:
    viewer.layers.selection.active = labels = viewer.layers["labels"]
    labels.mode = "paint"
    assert next(go_on_click(viewer, viewer, MouseEvent((0.0, 0.0, 0.0))), "over") == "over"
    labels.mode = "pan_zoom"
    viewer.dims.ndisplay = 3
    assert next(go_on_click(viewer, viewer, MouseEvent((0.0, 0.0, 0.0))), "over") == "over"
