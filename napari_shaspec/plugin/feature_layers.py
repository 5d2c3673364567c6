"""Feature maps as layers: one for each modality, beside the labelled image in napari's grid.

napari's grid puts equal numbers of neighbours in the list into each cell. Two is the number here: the image and its
labels in the first cell, then each map with the outline of the labels over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.inference.feature_choice import FeatureView
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.layers import AXES, REVERSED, SHOWN, TAG, LayerSource, Role, Shown, straightening
from napari_shaspec.plugin.palette import label_look
from napari_shaspec.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels, Layer

    from napari_shaspec.inference.feature_choice import FeatureChoice
    from napari_shaspec.inference.feature_pictures import FeatureMap

LAYERS_IN_A_CELL = 2
OUTLINE = "outline"
TITLE_POINTS = 8
"""Small enough for the longest name in a cell of a narrow canvas."""

SCALAR_COLOURS = {FeatureView.NORM: "magma", FeatureView.CHANNEL: "viridis", FeatureView.SIMILARITY: "PiYG"}


class FeatureLayers:
    """The set of layers that shows one choice of feature maps.

    Parameters
    ----------
    viewer
        Where they are shown.
    """

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self.maps: dict[Modality, Image] = {}
        self.outlines: dict[Modality, Labels] = {}
        self._titles: dict[Modality, str] = {}
        self._order_before: list[Layer] | None = None
        self._grid_before: tuple[bool, int, tuple[int, int]] = (False, 1, (-1, -1))
        self._named: list[Layer] = []  # those whose names are shown for the grid only
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def shown(self) -> bool:
        """Whether there are any."""
        return bool(self.maps)

    def by_title(self) -> dict[str, Image]:
        """The maps by kind and modality, whatever somebody calls their layers."""
        return {self._titles[modality]: layer for modality, layer in self.maps.items()}

    def show(self, choice: FeatureChoice, maps: Mapping[Modality, FeatureMap | None], labels: Labels | None) -> None:
        """Add the layers, or bring those that are there up to date.

        Parameters
        ----------
        labels
            Whose outline is drawn over each map.
        """
        active = self._viewer.layers.selection.active
        for modality in Modality:
            picture = maps.get(modality)
            if picture is None:
                self._remove(modality)
                continue
            name = f"{choice.kind} {modality.title}" + (" (stand-in)" if picture.stand_in else "")
            self._titles[modality] = name
            self._show_map(modality, name, choice, picture)
            if labels is not None:
                self._show_outline(modality, name, labels)
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

    def draw_outlines_of(self, labels: Labels) -> None:
        """The labels are another layer's now: so are the outlines over the maps."""
        active = self._viewer.layers.selection.active
        for modality in list(self.outlines):
            if modality in self.maps:
                self._show_outline(modality, self._titles[modality], labels)
        self._viewer.layers.selection.active = active

    def refresh_outlines(self) -> None:
        """The labels have changed; the outlines share their memory and need only be drawn again."""
        for layer in self.outlines.values():
            if layer.visible:
                layer.refresh()

    def remove_outlines(self) -> None:
        """The labels are gone."""
        for outline in list(self.outlines.values()):
            self._viewer.layers.remove(outline)

    def arrange(self, image: Layer | None, labels: Layer | None) -> None:
        """Show the grid: the labelled image first, then the maps; zoom and grid are the user's from then on."""
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        begins = self._order_before is None
        if begins:
            self._order_before = list(layers)
            self._grid_before = (grid.enabled, grid.stride, tuple(grid.shape))
        first = [each for each in (image, labels) if each is not None and each in layers]
        cells = [
            each
            for modality in self.maps
            for each in (self.maps[modality], self.outlines.get(modality))
            if each is not None
        ]
        rest = [each for each in layers if each not in first and each not in cells]
        self._sort([*first, *cells, *rest])
        # Without labels there are no outlines, and each layer is a cell of its own.
        grid.stride = LAYERS_IN_A_CELL if self.outlines else 1
        if begins:
            grid.shape = (-1, -1)
            grid.enabled = True
        for layer in self._titled(image):
            if not layer.name_overlay.visible:
                self._named.append(layer)
            layer.name_overlay.visible = True
            layer.name_overlay.font_size = TITLE_POINTS
        if begins:
            self._viewer.reset_view()

    def scatter(self) -> None:
        """Leave the grid, and put the list back in its order."""
        grid = self._viewer.canvas.grid
        if self._order_before is None:
            return
        grid.enabled, grid.stride, grid.shape = self._grid_before
        known = [each for each in self._order_before if each in self._viewer.layers]
        self._sort([*known, *(each for each in self._viewer.layers if each not in known)])
        self._order_before = None
        for layer in self._named:
            layer.name_overlay.visible = False
        self._named = []
        self._viewer.reset_view()

    def remove(self) -> None:
        """Remove the whole set."""
        self.scatter()
        for modality in {*self.maps, *self.outlines}:
            self._remove(modality)

    def remove_orphans(self) -> bool:
        """Remove the outlines whose maps the user has deleted; whether there were any."""
        orphans = [modality for modality in self.outlines if modality not in self.maps]
        for modality in orphans:
            self._remove(modality)
        return bool(orphans)

    def close(self) -> None:
        """Leave the grid and disconnect; the layers stay with the user, hidden, as without it they cover each other."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self.scatter()
        for layer in (*self.maps.values(), *self.outlines.values()):
            layer.visible = False
        self.maps, self.outlines, self._order_before, self._named, self._viewer = {}, {}, None, [], None

    def _titled(self, image: Layer | None) -> list[Layer]:
        return [*([image] if image is not None else []), *self.maps.values()]

    def _show_map(self, modality: Modality, name: str, choice: FeatureChoice, picture: FeatureMap) -> None:
        data = _display(picture.data)
        patient = picture.affine[np.ix_(REVERSED, REVERSED)]
        affine = straightening(patient) @ patient
        rgb = data.ndim == 4
        layer = self.maps.get(modality)
        if layer is not None and (layer.rgb != rgb or layer.data.shape != data.shape):
            self._remove(modality)
            layer = None
        if layer is None:
            options = {"affine": affine, "units": ("mm",) * 3, "axis_labels": AXES, "name": name, "rgb": rgb}
            layer = self.maps[modality] = self._viewer.add_image(data, interpolation2d="linear", **options)
        else:
            layer.data = data
            layer.affine = affine
            layer.name = name
        layer.metadata = {SHOWN: Shown(patient, affine)}
        if not rgb:
            volume = Volume(np.asarray(picture.data), picture.affine)
            layer.metadata = layer.metadata | {TAG: LayerSource(volume, role=Role.DERIVED)}
            layer.colormap = SCALAR_COLOURS[choice.view]
            layer.contrast_limits = picture.limits

    def _show_outline(self, modality: Modality, name: str, labels: Labels) -> None:
        outline = self.outlines.get(modality)
        if outline is not None and outline.data is not labels.data:
            self._viewer.layers.remove(outline)
            outline = None
        if outline is None:
            outline = self.outlines[modality] = self._viewer.add_labels(
                labels.data,
                affine=labels.affine,
                units=("mm",) * 3,
                axis_labels=AXES,
                **label_look() | {"opacity": 0.9},
            )
            outline.contour = 1
            outline.editable = False
            layers = self._viewer.layers
            layers.move(layers.index(outline), layers.index(self.maps[modality]) + 1)
        outline.name = f"{name} {OUTLINE}"

    def _sort(self, wanted: list[Layer]) -> None:
        layers = self._viewer.layers
        for place, layer in enumerate(wanted):
            here = layers.index(layer)
            if here != place:
                layers.move(here, place)

    def _remove(self, modality: Modality) -> None:
        for kept in (self.maps, self.outlines):
            layer = kept.pop(modality, None)
            if layer is not None and layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def _on_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        for kept in (self.maps, self.outlines):
            for modality, layer in list(kept.items()):
                if layer is removed:
                    del kept[modality]


def _display(data: NDArray[np.generic]) -> NDArray[np.generic]:
    """Axes R, A, S (and colour) -> z, y, x (and colour)."""
    return data.transpose(2, 1, 0, 3) if data.ndim == 4 else data.transpose(2, 1, 0)
