"""The labels in the viewer: one label map that the network and the user both paint on, and its regions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_shaspec.box import Box
from napari_shaspec.plugin.derived_layers import EVERYWHERE, RegionLayers, add_labels
from napari_shaspec.plugin.layers import REPORT, Placement, Role, role_of
from napari_shaspec.plugin.palette import label_look
from napari_shaspec.plugin.viewport import box_in_view
from napari_shaspec.regions import Label
from napari_shaspec.volume import Volume

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels

LABELS_NAME = "ShaSpec labels"


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    """Arrays in file order, and how they are shown; the layer holds a view of the same memory.

    ``given`` are the labels as the network gave them, ``seen`` as they were last measured.
    """

    grid: Volume
    placement: Placement
    labels: NDArray[np.uint8]
    given: NDArray[np.uint8]
    seen: NDArray[np.uint8]


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

    cleared = Signal()
    """There are no labels any more; new ones may come at once."""

    replaced = Signal()
    """The labels are those of another layer now; the one before, with edits, stays with the user."""

    def __init__(self, viewer: ViewerModel, opacity: float = 0.5) -> None:
        self._viewer = viewer
        self._opacity = opacity
        self._of_before = [layer for layer in viewer.layers if role_of(layer) in (Role.RESULT, Role.DERIVED)]
        self._canvas: _Canvas | None = None
        self._aside: list[Labels] = []
        self._editable = True
        self._save: Callable[..., object] | None = None
        self.layer: Labels | None = None
        self.regions = RegionLayers(viewer, self._labels_on_grid)
        viewer.layers.events.removed.connect(self._on_removed)

    # The painter's part

    def begin(self, grid: Volume) -> str | None:
        """See `Painter`."""
        kept = self._keep_edits() if self.edited() else None
        canvas = self._canvas
        if canvas is None or self.layer is None or not canvas.grid.same_grid(grid):
            self.clear()
            labels = np.zeros(grid.shape, np.uint8)
            self._canvas = canvas = _Canvas(grid, Placement.of(grid), labels, labels.copy(), labels.copy())
            self._add_labels(labels)
        else:
            canvas.given[...] = canvas.labels
            self._forget_strokes(self.layer)
        return kept

    def paint(self, box: Box | None, labels: NDArray[np.uint8]) -> None:
        """See `Painter`."""
        canvas = self._canvas
        if canvas is None or self.layer is None:
            return  # the user has removed the layer: nothing to paint on
        place = box.slices if box is not None else EVERYWHERE
        canvas.labels[place] = labels
        canvas.given[place] = labels
        canvas.seen[place] = labels
        if self.layer.visible:
            self.layer.refresh()
        self.regions.update(place)

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
        """See `Painter`."""
        return box_in_view(self._viewer.dims, self.layer, grid)

    # Looks

    @property
    def placement(self) -> Placement | None:
        """Of the grid that labels are on."""
        return self._canvas.placement if self._canvas is not None else None

    def set_editable(self, *, editable: bool) -> None:
        """No brush while the network paints: strokes would be painted over without a word."""
        self._editable = editable
        if self.layer is not None:
            self.layer.editable = editable

    def set_export(self, function: Callable[..., object]) -> None:
        """What *File > Save* does with the label map, and with any that comes after it: export it with its report."""
        self._save = function
        if self.layer is not None:
            self.layer.metadata = {**self.layer.metadata, REPORT: function}

    def set_aside(self) -> list[str]:
        """Names of the layers with strokes of the user that later answers on this case have taken the place of."""
        return [layer.name for layer in self._aside if layer in self._viewer.layers]

    def set_opacity(self, opacity: float) -> None:
        """Of the label map, 0 to 1."""
        self._opacity = opacity
        if self.layer is not None:
            self.layer.opacity = opacity

    def clear(self) -> str | None:
        """Remove all layers that were added here, but for labels that somebody has edited."""
        kept = str(self._release_edited().name) if self.edited() else None
        layer, self.layer, self._canvas = self.layer, None, None
        self._aside = []
        if layer is not None and layer in self._viewer.layers:
            self._viewer.layers.remove(layer)
        self.regions.clear()
        self.cleared.emit()
        return kept

    def close(self) -> None:
        """Disconnect; the layers stay with the user, who may paint on them."""
        self._viewer.layers.events.removed.disconnect(self._on_removed)
        self._listen(self.layer, on=False)
        self.set_editable(editable=True)
        self.regions.close()
        self.layer = self._canvas = self._viewer = self._save = None
        self._of_before, self._aside = [], []

    def _labels_on_grid(self) -> tuple[NDArray[np.uint8], Volume] | None:
        labels, canvas = self.labels(), self._canvas
        return None if labels is None or canvas is None else (labels, canvas.grid)

    def _add_labels(self, labels: NDArray[np.uint8]) -> None:
        assert self._canvas is not None
        for layer in self._of_before:  # of a panel that was closed: beside these, they would pass for the answer
            layer.visible = False
        self._of_before = []
        look = label_look() | {"opacity": self._opacity}
        self.layer = add_labels(self._viewer, LABELS_NAME, self._canvas.grid.with_data(labels), look, Role.RESULT)
        self.layer.selected_label = int(Label.ET)
        if self._save is not None:
            self.set_export(self._save)
        self._listen(self.layer, on=True)
        self._viewer.layers.selection.active = self.layer

    def _keep_edits(self) -> str:
        """Edits are work: the layer stays with the user, undo included, and the network gets a new one."""
        canvas = self._canvas
        assert canvas is not None
        old = self._release_edited()
        self._aside.append(old)
        labels = canvas.labels.copy()
        self._canvas = replace(canvas, labels=labels, given=labels.copy(), seen=labels.copy())
        self._add_labels(labels)
        layers = self._viewer.layers
        # In its place, above the images: napari's grid of feature maps counts hidden layers, too.
        layers.move(layers.index(self.layer), layers.index(old))
        layers.move(layers.index(old), len(layers))
        self.replaced.emit()
        return str(old.name)

    def _forget_strokes(self, layer: Labels) -> None:
        """Undo would write voxels of the answer before into the next one; napari forgets strokes with the brush."""
        mode = layer.mode
        layer.editable = False
        layer.editable = self._editable
        if self._editable:
            layer.mode = mode

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

    def _on_removed(self, event: object) -> None:
        removed = getattr(event, "value", None)
        if removed is self.layer:
            self._listen(self.layer, on=False)
            self.layer = None
