"""The labels in the viewer: one editable label map, a layer for each region, and what changed against a pinned one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_shaspec.box import Box
from napari_shaspec.plugin.layers import REPORT, TAG, LayerSource, Placement, Role
from napari_shaspec.plugin.palette import CHANGE_COLOURS, GAINED, LOST, REGION_COLOURS, flat_look, label_look
from napari_shaspec.regions import Label, Region, labels_to_masks
from napari_shaspec.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

LABELS_NAME = "ShaSpec labels"
CHANGE_NAME = "Change"
LINE_PIXELS = 2

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


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """Arrays in file order, and how they are shown; the layers hold views of the same memory.

    ``given`` are the labels as the network gave them, ``seen`` as they were last measured.
    """

    grid: Volume
    placement: Placement
    labels: NDArray[np.uint8]
    given: NDArray[np.uint8]
    seen: NDArray[np.uint8]
    regions: Mapping[Region, NDArray[np.uint8]]


class Overlay:
    """Implements `Painter` with napari's layers; call it from the thread of the event loop only.

    Parameters
    ----------
    viewer
        Layers are added to it when they are first needed.
    opacity
        Of the labels, 0 to 1.
    """

    changed = Signal()
    """The labels may be others now: the brush, undo, or any redraw."""

    def __init__(self, viewer: ViewerModel, opacity: float = 0.5) -> None:
        self._viewer = viewer
        self._opacity = opacity
        self._canvas: _Canvas | None = None
        self._editable = True
        self.layer: Labels | None = None
        self.regions: dict[Region, Labels] = {}
        self.change: Labels | None = None
        viewer.layers.events.removed.connect(self._on_removed)

    # The painter's part

    def begin(self, grid: Volume) -> str | None:
        """See `Painter`."""
        kept = self._keep_edits() if self.edited() else None
        canvas = self._canvas
        if canvas is None or self.layer is None or not canvas.grid.same_grid(grid):
            self.clear()
            labels = np.zeros(grid.shape, np.uint8)
            regions = {region: np.zeros(grid.shape, np.uint8) for region in Region}
            self._canvas = canvas = _Canvas(grid, Placement.of(grid), labels, labels.copy(), labels.copy(), regions)
            self._add_labels(labels)
        else:
            canvas.given[...] = canvas.labels
        return kept

    def paint(self, box: Box | None, labels: NDArray[np.uint8]) -> None:
        """See `Painter`."""
        canvas = self._canvas
        if canvas is None or self.layer is None:
            return  # the user has removed the layer: nothing to paint on
        place = box.slices if box is not None else (slice(None),) * 3
        canvas.labels[place] = labels
        canvas.given[place] = labels
        canvas.seen[place] = labels
        for region, layer in self.regions.items():
            if layer.visible:
                self._fill_region(region, place)
        self._refresh()

    def labels(self) -> NDArray[np.uint8] | None:
        """See `Painter`."""
        return self._canvas.labels if self._canvas is not None and self.layer is not None else None

    def edited(self) -> bool:
        """Whether somebody has painted on the labels since they came."""
        canvas = self._canvas
        return canvas is not None and self.layer is not None and not np.array_equal(canvas.labels, canvas.given)

    def take_changes(self) -> bool:
        """Whether somebody has painted, undone or redone since this was last asked."""
        canvas = self._canvas
        if canvas is None or self.layer is None or np.array_equal(canvas.labels, canvas.seen):
            return False
        canvas.seen[...] = canvas.labels
        return True

    def viewport(self, grid: Volume) -> Box | None:
        """The slice that is shown, as far as it is in view; None in 3-D."""
        dims = self._viewer.dims
        if dims.ndisplay != 2 or dims.ndim != 3:
            return None
        placement = Placement.of(grid)
        centre = np.linalg.solve(placement.affine, np.append(np.asarray(dims.point, float), 1.0))[:3]
        low, high = [0, 0, 0], [0, 0, 0]
        shown_shape = placement.to_ras_shape()[::-1]
        corners = self.layer.corner_pixels if self.layer is not None else None
        for axis in range(3):
            if axis in dims.displayed:
                inside = corners is not None and corners[1, axis] > corners[0, axis]
                low[axis] = int(corners[0, axis]) if inside and corners is not None else 0
                high[axis] = int(corners[1, axis]) + 1 if inside and corners is not None else shown_shape[axis]
            else:
                low[axis] = round(float(centre[axis]))
                high[axis] = low[axis] + 1
        return placement.file_box((low[0], low[1], low[2]), (high[0], high[1], high[2]))

    # Looks

    @property
    def placement(self) -> Placement | None:
        """Of the grid that labels are on."""
        return self._canvas.placement if self._canvas is not None else None

    def sync_regions(self) -> None:
        """Bring the region layers up to date with the labels, after an edit."""
        if self._canvas is not None and self.layer is not None:
            for region, layer in self.regions.items():
                if layer.visible:
                    self._fill_region(region, (slice(None),) * 3)
                    layer.refresh()

    def show_region(self, region: Region, *, visible: bool, filled: bool) -> None:
        """Show a region as an outline or filled, or hide it; its layer is added when it is first shown."""
        layer = self.regions.get(region)
        if layer is None:
            if not visible or self._canvas is None or self.layer is None:
                return
            layer = self._add_region(region)
        layer.contour = 0 if filled else LINE_PIXELS
        layer.opacity = 0.4 if filled else 1.0
        layer.visible = visible

    def set_editable(self, *, editable: bool) -> None:
        """No brush while the network paints: strokes would be painted over without a word."""
        self._editable = editable
        if self.layer is not None:
            self.layer.editable = editable

    def set_export(self, function: Callable[..., object]) -> None:
        """What *File > Save* does with the label map: export it with its report."""
        if self.layer is not None:
            self.layer.metadata = {**self.layer.metadata, REPORT: function}

    def set_opacity(self, opacity: float) -> None:
        """Of the label map, 0 to 1."""
        self._opacity = opacity
        if self.layer is not None:
            self.layer.opacity = opacity

    def show_change(self, change: NDArray[np.uint8] | None) -> None:
        """What `change_map` gave, as a layer; None removes it."""
        canvas = self._canvas
        if change is None or canvas is None:
            if self.change is not None and self.change in self._viewer.layers:
                self._viewer.layers.remove(self.change)
            self.change = None
            return
        if self.change is None:
            active = self._viewer.layers.selection.active
            self.change = self._add(CHANGE_NAME, change, flat_look(CHANGE_COLOURS) | {"opacity": 0.8})
            self.change.editable = False
            self._viewer.layers.selection.active = active
        else:
            self.change.data = canvas.placement.to_display(change)

    def clear(self) -> str | None:
        """Remove all layers that were added here, but for labels that somebody has edited."""
        kept = str(self._release_edited().name) if self.edited() else None
        mine = [layer for layer in (self.layer, *self.regions.values(), self.change) if layer is not None]
        self.layer, self.change = None, None
        self.regions = {}
        self._canvas = None
        for layer in mine:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        return kept

    def close(self) -> None:
        """Disconnect; the layers stay with the user."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._listen(self.layer, on=False)
        self.layer = self.change = self._canvas = self._viewer = None
        self.regions = {}

    def _add_labels(self, labels: NDArray[np.uint8]) -> None:
        self.layer = self._add(LABELS_NAME, labels, label_look() | {"opacity": self._opacity}, Role.RESULT)
        self.layer.selected_label = int(Label.ET)
        self._listen(self.layer, on=True)
        self._viewer.layers.selection.active = self.layer

    def _add_region(self, region: Region) -> Labels:
        assert self._canvas is not None
        active = self._viewer.layers.selection.active
        self._fill_region(region, (slice(None),) * 3)
        layer = self._add(region.value, self._canvas.regions[region], flat_look({1: REGION_COLOURS[region]}))
        layer.editable = False
        # Hidden layers are not kept up to date: it would cost a frame for each tile.
        layer.events.visible.connect(self._on_shown)
        self.regions[region] = layer
        self._viewer.layers.selection.active = active
        return layer

    def _add(self, name: str, data: NDArray[np.uint8], look: Mapping[str, object], role: Role = Role.DERIVED) -> Labels:
        assert self._canvas is not None
        source = LayerSource(self._canvas.grid.with_data(data), role=role)
        options = {**self._canvas.placement.keywords(), **look, "metadata": {TAG: source}, "name": name}
        return self._viewer.add_labels(self._canvas.placement.to_display(data), **options)

    def _fill_region(self, region: Region, place: tuple[slice, ...]) -> None:
        assert self._canvas is not None
        self._canvas.regions[region][place] = region_mask(self._canvas.labels[place], region)

    def _refresh(self) -> None:
        for layer in (self.layer, *self.regions.values()):
            if layer is not None and layer.visible:
                layer.refresh()

    def _keep_edits(self) -> str:
        """Edits are work: the layer stays with the user, undo included, and the network gets a new one."""
        canvas = self._canvas
        assert canvas is not None
        old = self._release_edited()
        labels = canvas.labels.copy()
        self._canvas = replace(canvas, labels=labels, given=labels.copy(), seen=labels.copy())
        self._add_labels(labels)
        layers = self._viewer.layers
        layers.move(layers.index(self.layer), layers.index(old) + 1)
        return str(old.name)

    def _release_edited(self) -> Labels:
        old, layers = self.layer, self._viewer.layers
        assert old is not None
        taken = {layer.name for layer in layers}
        name, count = f"{LABELS_NAME} (edited)", 2
        while name in taken:
            name, count = f"{LABELS_NAME} (edited {count})", count + 1
        self._listen(old, on=False)
        old.name, old.visible, old.editable = name, False, True
        self.layer = None
        return old

    def _listen(self, layer: Labels | None, *, on: bool) -> None:
        if layer is not None:
            # A hidden layer tells of new data by the last of these alone.
            for event in (layer.events.paint, layer.events.set_data, layer.events.data):
                event.connect(self._on_event) if on else event.disconnect(self._on_event)

    def _on_event(self, event: object = None) -> None:
        self._take_back()
        self.changed.emit()

    def _take_back(self) -> None:
        """Keep layer and canvas one memory where somebody has given the layer an array of its own.

        napari does so to convert a layer's type; strokes on it would be seen by nobody here.
        """
        canvas, layer = self._canvas, self.layer
        if canvas is None or layer is None or np.may_share_memory(layer.data, canvas.labels):
            return
        if layer.data.shape != canvas.placement.to_display(canvas.labels).shape:
            old = self._release_edited()  # no labels of this grid any more: the user's own
            old.metadata = {key: value for key, value in old.metadata.items() if key != REPORT}
            return
        canvas.labels[...] = canvas.placement.to_file(np.asarray(layer.data))
        layer.data = canvas.placement.to_display(canvas.labels)
        layer.editable = self._editable  # new data make it editable, while the network paints, too

    def _on_shown(self, event: object = None) -> None:
        self.sync_regions()

    def _on_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        if removed is self.layer:
            self._listen(self.layer, on=False)
            self.layer = None
        if removed is self.change:
            self.change = None
        for region, layer in list(self.regions.items()):
            if removed is layer:
                del self.regions[region]
