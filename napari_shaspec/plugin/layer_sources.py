"""What the images and the reference of a viewer hold: read once, and again when their values or their place changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_shaspec.io.orientation import check_sizes
from napari_shaspec.plugin.layers import CHANGED, LayerSource, Role, patient_affine, role_of, source_of, with_note

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.utils.events import Event, EventEmitter

TRANSFORMS = ("affine", "scale", "translate", "rotate", "shear", "units")
"""Events of a layer that say it lies elsewhere now."""


class LayerSources:
    """Hears when layers change, and keeps what was read of each until then: other readers' are copied and checked.

    Parameters
    ----------
    changed
        Called when other values are put into one of the layers, when somebody may have painted on the reference, or
        when one is moved or scaled.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._watched: list[Layer] = []
        self._kept: dict[Layer, tuple[object, NDArray[np.float64] | None, LayerSource]] = {}
        self._assigned: set[Layer] = set()

    @property
    def watched(self) -> list[Layer]:
        """The layers that are listened to."""
        return list(self._watched)

    @property
    def assigned(self) -> set[Layer]:
        """Into which values were put since the last `settle`, and that were not read since."""
        return set(self._assigned)

    def watch(self, layers: list[Layer]) -> None:
        """Listen to these layers, and to no others any more; what was read of others is forgotten."""
        for layer in self._watched:
            if layer not in layers:
                for heard in _value_events(layer):
                    heard.disconnect(self._on_data)
                for name in TRANSFORMS:
                    getattr(layer.events, name).disconnect(self._on_place)
        for layer in layers:
            if layer not in self._watched:
                for heard in _value_events(layer):
                    heard.connect(self._on_data)
                for name in TRANSFORMS:
                    getattr(layer.events, name).connect(self._on_place)
        self._watched = layers
        self._kept = {layer: kept for layer, kept in self._kept.items() if layer in layers}

    def of(self, layer: Layer) -> LayerSource:
        """What a layer holds; the same object as long as it holds the same, at the same place.

        Raises
        ------
        ShaSpecError
            If it can be no image or no reference of a case.
        """
        kept = self._kept.get(layer)
        # A file's own header says where its voxels lie; of all others the layer is what knows.
        place = patient_affine(layer) if role_of(layer) is None and layer.ndim == 3 else None
        before = None if kept is None else kept[1]
        moved = place is not None and before is not None and not np.array_equal(place, before)
        if kept is None or moved or kept[0] is not layer.data or layer in self._assigned:
            self._kept.pop(layer, None)  # what cannot be read now is looked at again when it changes
            source = source_of(layer)
            check_sizes(source.volume.affine, source.volume.shape)
            if role_of(layer) is Role.REFERENCE:
                # Its layer holds a copy, so that the values themselves tell a stroke or undo from a mere redraw.
                if kept is not None and np.array_equal(source.volume.data, kept[2].volume.data):
                    source = kept[2]
            elif kept is not None and not moved and kept[0] is layer.data:
                source = with_note(source, CHANGED)  # as by `layer.data *= 2`, which leaves the array where it was
            kept = self._kept[layer] = (layer.data, place, source)
            self._assigned.discard(layer)
        return kept[2]

    def forget(self, layer: Layer) -> None:
        """Read it anew when it is asked for: what was written into its array since is to be seen."""
        self._kept.pop(layer, None)

    def settle(self) -> None:
        """All that changed has been looked at."""
        self._assigned.clear()

    def close(self) -> None:
        """Let go of the layers."""
        self.watch([])
        self._assigned = set()

    def _on_place(self, event: Event) -> None:
        if event.source not in self._kept:  # it could not be read as it was
            self._assigned.add(event.source)
        self._changed()

    def _on_data(self, event: Event) -> None:
        self._assigned.add(event.source)
        self._changed()


def _value_events(layer: Layer) -> list[EventEmitter]:
    """What tells of other values: those assigned, and of labels strokes and, by a redraw, undo."""
    events = layer.events
    return [events.data, events.paint, events.set_data] if type(layer).__name__ == "Labels" else [events.data]
