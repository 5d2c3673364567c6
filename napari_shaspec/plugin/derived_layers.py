"""Layers beside the labels: each region by itself, what changed against pinned labels, where the subsets agree."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_shaspec.plugin.layers import TAG, LayerSource, Placement, Role
from napari_shaspec.plugin.palette import CHANGE_COLOURS, GAINED, LOST, REGION_COLOURS, consensus_look, flat_look
from napari_shaspec.regions import Region, labels_to_masks

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Image, Labels

    from napari_shaspec.volume import Volume

CHANGE_NAME = "Change"
CONSENSUS_NAME = "Consensus"
LINE_PIXELS = 2
EVERYWHERE = (slice(None),) * 3

Added = TypeVar("Added", "Image", "Labels", "Image | Labels")

_LOOKUP = dict(zip(Region, labels_to_masks(np.arange(256)).astype(np.uint8), strict=True))


def region_mask(labels: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """1 where a label map belongs to a region; a table is several times faster than comparisons."""
    mask: NDArray[np.uint8] = _LOOKUP[region][labels]
    return mask


def change_map(labels: NDArray[np.uint8], pinned: NDArray[np.uint8], region: Region) -> NDArray[np.uint8]:
    """`GAINED` where a region is now and was not in the pinned labels, `LOST` where it was and is not, else 0."""
    change: NDArray[np.uint8] = np.array([[0, GAINED], [LOST, 0]], np.uint8)[
        region_mask(pinned, region), region_mask(labels, region)
    ]
    return change


def add_labels(
    viewer: ViewerModel, name: str, volume: Volume, look: Mapping[str, object], role: Role = Role.DERIVED
) -> Labels:
    """Show a volume of small numbers; the layer holds a view of its memory."""
    data, options = _shown(name, volume, look, role)
    return viewer.add_labels(data, **options)


def add_picture(viewer: ViewerModel, name: str, volume: Volume, look: Mapping[str, object]) -> Image:
    """Show a volume of measured values; the layer holds a view of its memory."""
    data, options = _shown(name, volume, look, Role.DERIVED)
    return viewer.add_image(data, **options)


def _shown(
    name: str, volume: Volume, look: Mapping[str, object], role: Role
) -> tuple[NDArray[np.generic], dict[str, Any]]:
    """Data and keywords of a layer."""
    placement = Placement.of(volume)
    options = {**placement.keywords(), **look, "metadata": {TAG: LayerSource(volume, role=role)}, "name": name}
    return placement.to_display(volume.data), options


def add_beside(viewer: ViewerModel, add: Callable[[], Added]) -> Added:
    """Add a layer that nobody paints on: what was selected stays so, for the brush."""
    active = viewer.layers.selection.active
    layer = add()
    layer.editable = False
    viewer.layers.selection.active = active
    return layer


class RegionLayers:
    """A layer for each region that somebody has asked to see, true to the labels while it is visible.

    Parameters
    ----------
    viewer
        Layers are added to it when they are first shown.
    labels
        Gives the labels as they are now, in file order, and their grid; None where there are none.
    """

    def __init__(self, viewer: ViewerModel, labels: Callable[[], tuple[NDArray[np.uint8], Volume] | None]) -> None:
        self._viewer = viewer
        self._labels = labels
        self._layers: dict[Region, Labels] = {}
        self._masks: dict[Region, NDArray[np.uint8]] = {}
        viewer.layers.events.removed.connect(self._on_removed)

    def __contains__(self, region: Region) -> bool:
        """Whether it has a layer already."""
        return region in self._layers

    def show(self, region: Region, *, visible: bool, filled: bool) -> None:
        """Show a region as an outline or filled, or hide it; its layer is added when it is first shown."""
        layer = self._layers.get(region)
        if layer is None:
            there = self._labels()
            if not visible or there is None:
                return
            layer = self._add(region, *there)
        layer.contour = 0 if filled else LINE_PIXELS
        layer.opacity = 0.4 if filled else 1.0
        layer.visible = visible

    def update(self, place: tuple[slice, ...] = EVERYWHERE) -> None:
        """The labels are others here: follow, and draw again."""
        there = self._labels()
        if there is None:
            return
        for region, layer in self._layers.items():
            if layer.visible:  # keeping hidden ones up to date would cost a frame for each tile
                self._masks[region][place] = region_mask(there[0][place], region)
                layer.refresh()

    def clear(self) -> None:
        """Remove them all."""
        mine, self._layers, self._masks = list(self._layers.values()), {}, {}
        for layer in mine:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Disconnect; the layers stay with the user."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._layers, self._masks, self._viewer = {}, {}, None

    def _add(self, region: Region, labels: NDArray[np.uint8], grid: Volume) -> Labels:
        mask = self._masks[region] = region_mask(labels, region)
        look = flat_look({1: REGION_COLOURS[region]})
        layer = add_beside(self._viewer, lambda: add_labels(self._viewer, region.value, grid.with_data(mask), look))
        layer.events.visible.connect(self._on_shown)
        self._layers[region] = layer
        return layer

    def _on_shown(self, event: object = None) -> None:
        self.update()

    def _on_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        for region, layer in list(self._layers.items()):
            if removed is layer:
                del self._layers[region]
                del self._masks[region]


class LayerOfItsOwn(ABC):
    """One layer that is added when there is something to show, and goes when there is not.

    Parameters
    ----------
    viewer
        The layer is added to it.
    """

    removed = Signal()
    """Somebody else has taken the layer away."""

    def __init__(self, viewer: ViewerModel) -> None:
        self._viewer = viewer
        self._layer: Image | Labels | None = None
        self._name = ""
        viewer.layers.events.removed.connect(self._on_removed)

    def remove(self) -> None:
        """Nothing to show any more."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)

    def close(self) -> None:
        """Disconnect; the layer stays with the user."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._layer = self._viewer = None

    def _show(self, name: str, volume: Volume) -> None:
        if self._layer is None:
            self._layer = add_beside(self._viewer, lambda: self._add(name, volume))
        else:
            self._layer.data = Placement.of(volume).to_display(volume.data)
            self._layer.metadata = {**self._layer.metadata, TAG: LayerSource(volume, role=Role.DERIVED)}
            if name != self._name:  # else it may have a name that somebody has given it
                self._layer.name = name
            self._layer.editable = False  # new data make it editable
        self._name = name

    @abstractmethod
    def _add(self, name: str, volume: Volume) -> Image | Labels:
        """Add the layer to the viewer."""

    def _on_removed(self, event: object) -> None:
        if self._layer is not None and getattr(event, "value", None) is self._layer:
            self._layer = None
            self.removed.emit()


class ChangeLayer(LayerOfItsOwn):
    """Where a region has grown or shrunk against the pinned labels."""

    def show(self, change: Volume) -> None:
        """What `change_map` gave, on its grid."""
        self._show(CHANGE_NAME, change)

    def _add(self, name: str, volume: Volume) -> Labels:
        return add_labels(self._viewer, name, volume, flat_look(CHANGE_COLOURS) | {"opacity": 0.8})


class ConsensusLayer(LayerOfItsOwn):
    """How many of the subsets of a case's images mark each voxel."""

    def show(self, region: Region, share: Volume) -> None:
        """What `Sweep.consensus` gave, 0 to 1, on its grid."""
        self._show(f"{CONSENSUS_NAME} {region}", share)

    def _add(self, name: str, volume: Volume) -> Image:
        return add_picture(self._viewer, name, volume, consensus_look())
