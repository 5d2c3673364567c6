"""What was chosen in the feature plot, among the viewer's layers: the voxels of a lasso, and the place of a click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.evaluation.feature_plot import COLOURS
from napari_shaspec.plugin.layers import TAG, LayerSource, Placement, Role
from napari_shaspec.plugin.palette import flat_look
from napari_shaspec.plugin.viewport import show_place

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer, Points

    from napari_shaspec.plugin.feature_space import PlacedPlot

MARKS_NAME = "Marked features"
PLACE_NAME = "Place in the plot"
SEVERAL_COLOUR = "#ffffff"
PLACE_MM = 8.0
"""How large the cross is."""


class FeatureMarks:
    """Two layers, each added when it is first needed.

    Parameters
    ----------
    viewer
        Where they are shown.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.marks: Labels | None = None
        self.place: Points | None = None
        viewer.layers.events.removed.connect(self._on_removed)

    def point_at(self, placed: PlacedPlot, point: int) -> None:
        """Move the slices to the voxel at a point's place, and put a cross on it."""
        viewer, placement = self._viewer, Placement.of(placed.grid)
        exact = np.linalg.solve(placement.patient, np.append(placed.place_mm(point)[::-1], 1.0))[:3]
        # Of a whole voxel, so that the cross lies in the slice.
        voxel = np.round(exact)
        world = (placement.affine @ np.append(voxel, 1.0))[:3]
        if self.place is None:
            # In voxels like the images: in mm it would change the step of the sliders.
            shown = placement.affine[:3, :3]
            size = PLACE_MM / float(np.linalg.norm(shown, axis=0).min())
            active = viewer.layers.selection.active
            self.place = viewer.add_points(
                ndim=3,
                name=PLACE_NAME,
                symbol="cross",
                size=size,
                face_color="white",
                border_color="black",
                **placement.keywords(),
            )
            self.place.current_size = size
            viewer.layers.selection.active = active
        self.place.data = voxel[None]
        if viewer.dims.ndim == 3:
            show_place(viewer.dims, world)

    def mark(self, placed: PlacedPlot, points: NDArray[np.intp]) -> int:
        """Mark the voxels that points stand for, and nothing else; how many voxels there are."""
        data = placed.marks(points.tolist())
        placement = Placement.of(placed.grid)
        shown = placement.to_display(data)
        if self.marks is None:
            names = placed.plot.cloud.names
            colours = {value: _rgb(COLOURS[(value - 1) % len(COLOURS)]) for value in range(1, len(names) + 1)}
            look = flat_look(colours | {placed.several: _rgb(SEVERAL_COLOUR)})
            features = {"index": range(placed.several + 1), "marked": ["", *names, "several"]}
            active = self._viewer.layers.selection.active
            self.marks = self._viewer.add_labels(
                shown,
                name=MARKS_NAME,
                opacity=0.6,
                features=features,
                metadata={TAG: LayerSource(placed.grid.with_data(data), role=Role.DERIVED)},
                **look,
                **placement.keywords(),
            )
            self.marks.editable = False
            self._viewer.layers.selection.active = active
        else:
            self.marks.metadata = {TAG: LayerSource(placed.grid.with_data(data), role=Role.DERIVED)}
            self.marks.data = shown
        return int(np.count_nonzero(data))

    def remove(self) -> None:
        """Take both layers away."""
        mine: list[Layer | None] = [self.marks, self.place]
        self.marks = self.place = None
        for layer in mine:
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Disconnect; the layers stay with the user."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.marks = self.place = self._viewer = None

    def _on_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        if removed is self.marks:
            self.marks = None
        if removed is self.place:
            self.place = None


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
