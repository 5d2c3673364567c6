"""What the user sees of a grid: that part is computed first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_shaspec.box import Box
from napari_shaspec.plugin.layers import Placement

if TYPE_CHECKING:
    from napari.components import Dims
    from napari.layers import Layer

    from napari_shaspec.volume import Volume


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
    centre = np.linalg.solve(placement.affine, np.append(np.asarray(dims.point, float), 1.0))[:3]
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
