"""The same place cut along other axes: viewer models whose layers look as a viewer's own do.

napari shows one plane of a viewer at a time, and a layer belongs to one viewer. So each further plane is a model of its
own with copies of the layers, which share their memory and take over what changes: only from the viewer to the planes,
but for the place, which every view can move.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_shaspec.plugin.crosshair import CROSS, draw_thin
from napari_shaspec.plugin.layers import show_radiologically

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

CLICK_PIXELS = 4
"""A mouse that was moved further between press and release has dragged the picture."""

TITLES = ("Axial: right on the left, front at the top", "Coronal: right on the left", "Sagittal: front on the left")
"""By the axis (z, y, x) that slices are cut along."""

PLACED = ("affine", "scale", "translate", "rotate", "shear", "units")
LOOKS = {
    "image": ("data", "contrast_limits", "gamma", "colormap", "interpolation2d"),
    "labels": ("data", "colormap", "contour", "show_selected_label", "selected_label"),
    "points": (),
    "vectors": ("data", "edge_color"),
}
"""What copies take over of each kind of layer, beside what all have. Other kinds are left out, and vectors that are not
the crosshair."""

COMMON = ("visible", "opacity", "blending", *PLACED)


class Plane:
    """One further plane of a viewer.

    Parameters
    ----------
    viewer
        Whose layers are shown, those of three axes.
    axis
        Of (z, y, x), the one that slices are cut along.
    stale
        Called when somebody has painted: `refresh` shows it.
    """

    def __init__(self, viewer: ViewerModel, axis: int, stale: Callable[[], None]) -> None:
        from napari.components import ViewerModel

        self.model = ViewerModel()
        self._viewer = viewer
        self._stale = stale
        self._axis = axis
        self._copies: dict[Layer, Layer] = {}
        self._connections: dict[Layer, list[tuple[Any, Callable[..., None]]]] = {}
        self._seen = viewer.dims.point
        show_radiologically(self.model)
        self.model.canvas.overlays.scale_bar.visible = True
        for layer in viewer.layers:
            self._add(layer)
        self.cut(axis)
        self._own = [
            (viewer.layers.events.inserted, lambda event: self._add(event.value)),
            (viewer.layers.events.removed, lambda event: self._remove(event.value)),
            (viewer.layers.events.reordered, self._reorder),
            (viewer.dims.events.point, self._follow),
            (viewer.events.theme, self._on_theme),
        ]
        for emitter, slot in self._own:
            emitter.connect(slot)
        self.model.dims.events.point.connect(self._lead)
        self.model.dims.events.order.connect(self._stay)
        self.model.scene.camera.events.zoom.connect(self._thin)
        self.model.mouse_drag_callbacks.append(partial(go_on_click, viewer))
        self._on_theme()

    def cut(self, axis: int) -> None:
        """Cut along another axis."""
        self._axis = axis
        if self.model.dims.ndim == 3:
            self.model.dims.order = (axis, *(other for other in range(3) if other != axis))
        self._follow()

    def fit(self) -> None:
        """Show all there is of the images."""
        self.model.reset_view()

    def refresh(self) -> None:
        """Show what was painted into the memory of labels."""
        for layer, copy in self._copies.items():
            if layer._type_string == "labels":
                copy.refresh(thumbnail=False, extent=False)

    def copy_of(self, layer: Layer) -> Layer | None:
        """What shows a layer here."""
        return self._copies.get(layer)

    def close(self) -> None:
        """Disconnect from the viewer."""
        for emitter, slot in self._own:
            emitter.disconnect(slot)
        for layer in list(self._copies):
            self._remove(layer)
        self.model.mouse_drag_callbacks.clear()
        self._own = []
        self._viewer = None

    def _add(self, layer: Layer) -> None:
        from napari.layers import Layer as LayerOf

        if layer._type_string not in LOOKS or layer.ndim != 3:
            return
        if layer._type_string == "vectors" and CROSS not in layer.metadata:
            return
        data, state, kind = layer.as_layer_data_tuple()
        copy = LayerOf.create(data, {**state, "metadata": {}}, kind)
        for name in LOOKS[kind]:
            if name not in state and name != "data":
                setattr(copy, name, getattr(layer, name))
        self._copies[layer] = copy
        first = not self.model.layers
        self.model.layers.append(copy)
        copy.editable = False
        self.model.layers.selection.active = None
        self._reorder()
        self._thin()
        taken: list[tuple[Any, Callable[..., None]]]
        taken = [(getattr(layer.events, name), partial(self._take, layer, name)) for name in (*COMMON, *LOOKS[kind])]
        if kind == "points":  # how large and of which colour each is comes with it
            taken.append((layer.events.data, partial(self._renew, layer)))
        if kind == "labels":
            taken += [(layer.events.set_data, self._on_painted), (layer.events.labels_update, self._on_painted)]
        for emitter, slot in taken:
            emitter.connect(slot)
        self._connections[layer] = taken
        if first:
            self.cut(self._axis)
            self.fit()

    def _remove(self, layer: Layer) -> None:
        copy = self._copies.pop(layer, None)
        for emitter, slot in self._connections.pop(layer, []):
            emitter.disconnect(slot)
        if copy is not None and copy in self.model.layers:
            self.model.layers.remove(copy)

    def _renew(self, layer: Layer, *_: object) -> None:
        self._remove(layer)
        self._add(layer)

    def _reorder(self, *_: object) -> None:
        wanted = [self._copies[layer] for layer in self._viewer.layers if layer in self._copies]
        for place, copy in enumerate(wanted):
            if self.model.layers[place] is not copy:
                self.model.layers.move(self.model.layers.index(copy), place)

    def _take(self, layer: Layer, name: str, *_: object) -> None:
        copy = self._copies.get(layer)
        if copy is not None:
            setattr(copy, name, getattr(layer, name))

    def _on_painted(self, *_: object) -> None:
        # Another slice of the viewer says the same as a brush, and shows nothing new here.
        point = self._viewer.dims.point
        if point == self._seen:
            self._stale()
        self._seen = point

    def _follow(self, *_: object) -> None:
        _go(self._viewer, self.model, self._axis)

    def _lead(self, *_: object) -> None:
        if self._viewer is not None:
            _go(self.model, self._viewer, self._axis)

    def _stay(self, *_: object) -> None:
        """A key of napari's turns the axes of the view that has the focus."""
        if self.model.dims.ndim == 3 and self.model.dims.order[0] != self._axis:
            self.cut(self._axis)

    def _thin(self, *_: object) -> None:
        for copy in self._copies.values():
            if copy._type_string == "vectors":
                draw_thin(copy, self.model)

    def _on_theme(self, *_: object) -> None:
        self.model.theme = self._viewer.theme


def go_on_click(target: ViewerModel, viewer: ViewerModel, event: Any) -> Generator[None, None, None]:
    """A mouse callback of ``viewer``: a click, not a drag, moves the place of ``target`` to where it was.

    Only in the mode that pans and zooms: a brush paints.
    """
    active = viewer.layers.selection.active
    if viewer.dims.ndisplay != 2 or len(event.position) != 3 or (active is not None and active.mode != "pan_zoom"):
        return
    pressed, place = np.asarray(event.pos, float), np.asarray(event.position, float)
    yield
    while event.type == "mouse_move":
        if np.abs(np.asarray(event.pos, float) - pressed).max() > CLICK_PIXELS:
            return
        yield
    target.dims.set_point(range(3), [float(value) for value in place])


def _go(source: ViewerModel, target: ViewerModel, axis: int) -> None:
    """Along one axis only: slices along the others stay what they are, and need not be made again."""
    if source.dims.ndim == target.dims.ndim == 3 and source.dims.point[axis] != target.dims.point[axis]:
        target.dims.set_point(axis, source.dims.point[axis])
