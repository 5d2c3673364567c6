"""What the user sees of a grid: that part is computed first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.box import Box
from napari_shaspec.plugin.layers import Placement, mm_per_unit

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from napari.layers import Layer

    from napari_shaspec.volume import Volume


def show_place(dims: Dims, place_mm: Sequence[float] | NDArray[np.float64]) -> None:
    """Go to the slices through a place (z, y, x) of the world, in mm."""
    point = np.asarray(place_mm, float) / mm_per_unit(dims.units)
    dims.set_point(range(3), [float(value) for value in point])


def place_under_cursor(viewer: ViewerModel) -> tuple[float, ...] | None:
    """Where the mouse points, (z, y, x) of the world in mm; None in 3-D, where the cursor is at no voxel."""
    dims, cursor = viewer.dims, viewer.cursor.position
    if dims.ndisplay == 3:
        return None
    place = np.array(dims.point, float)  # napari tells the cursor of another slice only after it has cut it
    if len(cursor) == dims.ndim:
        shown = list(dims.displayed)
        place[shown] = np.asarray(cursor, float)[shown]
    return tuple(place * mm_per_unit(dims.units)) if dims.ndim == 3 else tuple(place)


def look_along(viewer: ViewerModel) -> None:
    """Tell napari's cursor which way the camera looks in 3-D, where it learns so from the mouse alone.

    Until the mouse moves over the canvas napari fails to tell the value of labels with names under it, and with that to
    add such a layer.
    """
    if viewer.dims.ndisplay == 3 and viewer.cursor._view_direction is None:
        camera, dims = viewer.scene.camera, viewer.dims
        viewer.cursor._view_direction = camera.calculate_nd_view_direction(dims.ndim, dims.displayed)


def box_in_view(dims: Dims, layer: Layer | None, grid: Volume) -> Box | None:
    """The slice that is shown, as far as it is in view; None in 3-D.

    Parameters
    ----------
    dims
        Which slice, and which axes are on the screen.
    layer
        One on this grid, which knows how far it is in view; without it the slice counts as a whole.
    """
    if dims.ndisplay != 2 or dims.ndim != 3:
        return None
    placement = Placement.of(grid)
    point_mm = np.asarray(dims.point, float) * mm_per_unit(dims.units)
    centre = np.linalg.solve(placement.affine, np.append(point_mm, 1.0))[:3]
    low, high = [0, 0, 0], [0, 0, 0]
    shown_shape = placement.to_ras_shape()[::-1]
    corners = layer.corner_pixels if layer is not None else None
    for axis in range(3):
        if axis in dims.displayed:
            inside = corners is not None and corners[1, axis] > corners[0, axis]
            low[axis] = int(corners[0, axis]) if inside and corners is not None else 0
            high[axis] = int(corners[1, axis]) + 1 if inside and corners is not None else shown_shape[axis]
        else:
            low[axis] = round(float(centre[axis]))
            high[axis] = low[axis] + 1
    return placement.file_box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
