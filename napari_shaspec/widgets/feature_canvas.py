"""The feature plot as something to click on: the nearest point, or all within a line that is drawn around them."""

from __future__ import annotations

import numpy as np
from matplotlib.backend_bases import MouseButton
from matplotlib.backends.backend_qtagg import FigureCanvasQTAgg
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.widgets import LassoSelector
from numpy.typing import NDArray
from qtpy.QtCore import Signal

from napari_shaspec.evaluation.feature_plot import draw_cloud
from napari_shaspec.evaluation.feature_space import FeaturePlot
from napari_shaspec.inference.feature_choice import ENCODED, FeatureKind

CLICK_PIXELS = 5
"""A line no longer than this is a click."""

REACH_PIXELS = 15
"""A click this near to a point means it."""


class FeatureCanvas(FigureCanvasQTAgg):
    """A plot, and what the mouse chooses in it."""

    picked = Signal(int)
    """A point, by its place in the cloud."""

    enclosed = Signal(object)
    """Points within a lasso, an array of places in the cloud."""

    def __init__(self) -> None:
        super().__init__(Figure())  # type: ignore[no-untyped-call]
        self.setMinimumSize(200, 270)  # the column beside it needs as much
        self.axes = self.figure.add_axes((0.01, 0.01, 0.98, 0.98))
        self._background, self._text = "white", "black"
        self._plot: FeaturePlot | None = None
        self._shown = set(ENCODED)
        self._chosen: NDArray[np.intp] = np.zeros(0, np.intp)
        self._lasso: LassoSelector | None = None
        self.draw_plot(None)

    def set_colours(self, background: str, text: str) -> None:
        """As the window around it has them."""
        self._background, self._text = background, text
        self._redraw()

    def draw_plot(self, plot: FeaturePlot | None) -> None:
        """Show another plot, or none."""
        self._plot = plot
        self._chosen = np.zeros(0, np.intp)
        self._redraw()

    def show_kind(self, kind: FeatureKind, *, shown: bool) -> None:
        """Show or hide one kind of points; hidden ones cannot be chosen."""
        (self._shown.add if shown else self._shown.discard)(kind)
        self._redraw()

    def close_canvas(self) -> None:
        """Let go of the mouse."""
        if self._lasso is not None:
            self._lasso.disconnect_events()
            self._lasso = None

    def _redraw(self) -> None:
        self.close_canvas()
        self.axes.clear()
        self.figure.set_facecolor(self._background)
        self.axes.set_facecolor(self._background)
        self.axes.set(xticks=[], yticks=[])
        self.axes.xaxis.label.set_color(self._text)
        for spine in self.axes.spines.values():
            spine.set_color(self._text)
        if self._plot is not None:
            for kind, points in draw_cloud(self.axes, self._plot.cloud, self._plot.placed).items():
                points.set_visible(kind in self._shown)
            x, y = self._plot.placed[self._chosen].T
            self.axes.scatter(x, y, s=50, facecolors="none", edgecolors=self._text, linewidths=0.8)
            self._lasso = LassoSelector(
                self.axes, self._on_line, props={"color": self._text}, button=[MouseButton.LEFT]
            )
        self.draw_idle()  # type: ignore[no-untyped-call]

    def _on_line(self, line: list[tuple[float, float]]) -> None:
        if self._plot is None:
            return
        cloud = self._plot.cloud
        shown = np.isin(cloud.kinds, [place for place, kind in enumerate(ENCODED) if kind in self._shown])
        candidates = np.flatnonzero(shown)
        if not len(candidates):
            return
        pixels = self.axes.transData.transform(np.asarray(line, float))
        if np.ptp(pixels, axis=0).max() <= CLICK_PIXELS:
            points = self.axes.transData.transform(self._plot.placed[candidates])
            distance = np.linalg.norm(points - pixels[0], axis=1)
            if distance.min() <= REACH_PIXELS:
                point = candidates[int(distance.argmin())]
                self._chosen = np.array([point])
                self.picked.emit(int(point))
        else:
            self._chosen = candidates[Path(line).contains_points(self._plot.placed[candidates])]
            self.enclosed.emit(self._chosen)
        self._redraw()
