"""The dock with the two other planes, beside one another; a click in any view moves all of them to its place."""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_shaspec.plugin.crosshair import Crosshair
from napari_shaspec.plugin.planes import TITLES, Plane, go_on_click
from napari_shaspec.widgets.leaving import PanelDock, open_below
from napari_shaspec.widgets.settling import settle_timer

if TYPE_CHECKING:
    from napari.qt import QtViewer

    from napari_shaspec.widgets.shaspec import ShaSpecWidget

NAME = "ShaSpec planes"
LOWEST = 160
"""Pixels: below, a plane shows nothing of use."""


class PlanesDock(PanelDock):
    """Two planes through the place that the canvas shows: coronal and sagittal beside axial slices.

    Parameters
    ----------
    panel
        Whose viewer is shown, and whose case the crosshair is as large as.
    """

    def __init__(self, panel: ShaSpecWidget) -> None:
        super().__init__(panel)
        self._settle_paint = settle_timer(self, self._refresh)
        self._settle_size = settle_timer(self, self._fit)
        axes = self._other_axes()
        self.planes = [Plane(self._viewer, axis, self._settle_paint.start) for axis in axes]
        self.cross = Crosshair(self._viewer)
        self.views: list[QtViewer] = []
        self.titles: list[QLabel] = []
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        for plane in self.planes:
            row.addWidget(self._view(plane), 1)
        self._name()
        self._click: Callable[..., Generator[None, None, None]] | None = partial(go_on_click, self._viewer)
        self._viewer.mouse_drag_callbacks.append(self._click)
        self._viewer.dims.events.order.connect(self._turn)
        self._listening = self._state.listen(case=self._on_case)
        panel.closing.connect(self.shut_down)
        self._on_case()

    def shut_down(self) -> None:
        """Take the crosshair away, and stop following the viewer."""
        if self._closed:
            return
        self._closed = True
        self._window.end()
        self._settle_paint.stop()
        self._settle_size.stop()
        self._state.forget(self._listening)
        viewer = self._viewer
        viewer.dims.events.order.disconnect(self._turn)
        if self._click in viewer.mouse_drag_callbacks:
            viewer.mouse_drag_callbacks.remove(self._click)
        self.cross.close()
        for plane in self.planes:
            plane.close()
        for view in self.views:
            view.close()
        self.views.clear()
        self.planes.clear()
        # Qt keeps what is connected to it alive, and that must not be a viewer.
        self._viewer = self._click = None
        del self._state
        self.setEnabled(False)

    def resizeEvent(self, event: Any) -> None:  # noqa: N802 (Qt's)
        """Show all of the images in the new size."""
        super().resizeEvent(event)
        self._settle_size.start()

    def _view(self, plane: Plane) -> QWidget:
        from napari.qt import QtViewer

        view, title = QtViewer(plane.model), QLabel()
        self.views.append(view)
        self.titles.append(title)
        view.setAcceptDrops(False)  # a file that is dropped here would be a layer of this plane alone
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(2, 0, 2, 0)
        column.addWidget(title)
        column.addWidget(view, 1)
        view.setMinimumHeight(LOWEST)
        view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
        return page

    def _other_axes(self) -> tuple[int, int]:
        """Of (z, y, x), those that the viewer does not cut along: coronal first where it shows axial slices."""
        dims = self._viewer.dims
        cut = dims.order[0] if dims.ndim == 3 else 0
        first, second = (axis for axis in range(3) if axis != cut)
        return first, second

    def _name(self) -> None:
        for title, axis in zip(self.titles, self._other_axes(), strict=True):
            title.setText(TITLES[axis])

    def _turn(self, *_: object) -> None:
        for plane, axis in zip(self.planes, self._other_axes(), strict=True):
            plane.cut(axis)
        self._name()
        self._settle_size.start()

    def _on_case(self, *_: object) -> None:
        case = self._state.case
        self.cross.lie_on(None if case is None else case.grid)
        self._settle_size.start()

    def _refresh(self) -> None:
        for plane in self.planes:
            plane.refresh()

    def _fit(self) -> None:
        for plane in self.planes:
            plane.fit()


def open_planes(panel: ShaSpecWidget) -> PlanesDock:
    """The other planes of the panel's viewer, docked below the canvas if they are not there yet."""
    return open_below(panel, NAME, PlanesDock)
