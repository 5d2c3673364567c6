"""A cross at the place that all views of a viewer share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_shaspec.plugin.layers import Placement, mm_per_unit

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Vectors

    from napari_shaspec.volume import Volume

CROSS_NAME = "Crosshair"
CROSS_COLOUR = "#39d353"
CROSS = "napari_shaspec_crosshair"
"""Key in the ``metadata`` of the crosshair's layer."""

LINE_PIXELS = 1.5
"""Its lines at any zoom: thinner ones fall between pixels."""


class Crosshair:
    """Three lines through the place that every view shows, as a layer of the viewer.

    Parameters
    ----------
    viewer
        Where the layer is added once there is a grid, and taken away at the end.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._grid: Volume | None = None
        self.layer: Vectors | None = None
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.point.connect(self._update)
        viewer.scene.camera.events.zoom.connect(self._thin)

    def lie_on(self, grid: Volume | None) -> None:
        """Lines as long as this grid, along its axes; without one there are none."""
        if grid is None or (self._grid is not None and not self._grid.same_grid(grid)):
            self._remove()
        self._grid = grid
        if grid is None or self.layer is not None:
            return
        active = self._viewer.layers.selection.active
        self.layer = self._viewer.add_vectors(
            self._lines(grid),
            name=CROSS_NAME,
            edge_color=CROSS_COLOUR,
            vector_style="line",
            opacity=0.6,
            metadata={CROSS: True},
            **Placement.of(grid).keywords(),
        )
        self._viewer.layers.selection.active = active
        self._thin()

    def close(self) -> None:
        """Take the layer away, and disconnect."""
        self._remove()
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._viewer.dims.events.point.disconnect(self._update)
        self._viewer.scene.camera.events.zoom.disconnect(self._thin)
        self._viewer = None

    def _lines(self, grid: Volume) -> Any:
        """(3, 2, 3): where each line begins, and how far it goes, in voxels (z, y, x).

        The place is not made that of a whole voxel: between two of them napari may show the other one, and it draws
        lines that are half a voxel away or less.
        """
        placement = Placement.of(grid)
        dims = self._viewer.dims
        place = np.zeros(3)
        if dims.ndim == 3:
            point_mm = np.asarray(dims.point, float) * mm_per_unit(dims.units)
            place = np.linalg.solve(placement.affine, np.append(point_mm, 1.0))[:3]
        sides = np.array(placement.to_ras_shape()[::-1])
        begins = np.repeat(place[None], 3, 0)
        begins[np.arange(3), np.arange(3)] = 0  # from centre to centre: further out they would widen the sliders' range
        return np.stack([begins, np.diag(sides - 1)], 1)

    def _update(self, *_: object) -> None:
        if self.layer is not None and self._grid is not None:
            self.layer.data = self._lines(self._grid)

    def _thin(self, *_: object) -> None:
        if self.layer is not None:
            draw_thin(self.layer, self._viewer)

    def _remove(self) -> None:
        layer, self.layer = self.layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def _on_removed(self, event: Any) -> None:
        if event.value is self.layer:
            self.layer = None


def draw_thin(lines: Vectors, model: ViewerModel) -> None:
    """As many pixels wide at every zoom; napari takes the width in voxels."""
    voxel = np.linalg.norm(lines.affine.affine_matrix[-4:-1, -4:-1], axis=0).min()
    lines.edge_width = LINE_PIXELS / (model.scene.camera.zoom * float(voxel))
