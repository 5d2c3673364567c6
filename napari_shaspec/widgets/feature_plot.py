"""The dock with the feature plot: compute it, then click and draw in it to find and mark places in the images."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.evaluation.feature_plot import COLOURS
from napari_shaspec.inference.feature_choice import ENCODED
from napari_shaspec.plugin.controller import CLOSING_SECONDS
from napari_shaspec.plugin.feature_marks import FeatureMarks
from napari_shaspec.plugin.feature_space import PlacedPlot, plot_steps
from napari_shaspec.plugin.latest import Latest
from napari_shaspec.plugin.sessions import load_weights, open_session
from napari_shaspec.plugin.state import Progress
from napari_shaspec.plugin.threads import start_thread
from napari_shaspec.widgets.leaving import PanelDock, open_below

if TYPE_CHECKING:
    from napari_shaspec.inference.session import Session
    from napari_shaspec.modalities import Modality
    from napari_shaspec.volume import Volume
    from napari_shaspec.widgets.shaspec import ShaSpecWidget

NAME = "ShaSpec feature plot"
COLUMN = 260
HINT = "Click a point: the slices move to its place. Draw around points: their voxels are marked."


class FeaturePlotDock(PanelDock):
    """Shared and specific features of the panel's case as points.

    The plot has a session of its own, so that a prediction and its cache are left alone; it ends with the computation.

    Parameters
    ----------
    panel
        Whose case, weights and device are used.

    Raises
    ------
    ShaSpecError
        Without matplotlib.
    """

    def __init__(self, panel: ShaSpecWidget) -> None:
        super().__init__(panel)
        try:
            from napari_shaspec.widgets.feature_canvas import FeatureCanvas
        except ModuleNotFoundError as error:
            raise _missing(error) from error
        self._controller = panel.controller
        self.layers = FeatureMarks(panel.viewer)
        self.placed: PlacedPlot | None = None
        self._images: dict[Modality, Volume] = {}
        self._shown_network = self._running_network = ""
        self._work: Latest[tuple[str, Progress | PlacedPlot]] = Latest(
            start_thread, self._received, self._over, self._failed
        )
        self.button = QPushButton()
        self.button.setObjectName("feature_plot")
        self.button.clicked.connect(self._clicked)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.message = _text()
        self.legend = _text()
        self.kinds = {kind: QCheckBox(f"{mark} {kind}") for kind, mark in zip(ENCODED, ("●", "✕"), strict=True)}
        self.scores = _text()
        self.clear = QPushButton("Remove marks")
        self.clear.setObjectName("remove_marks")
        self.clear.clicked.connect(self.layers.remove)
        self.canvas = FeatureCanvas()
        self.canvas.picked.connect(self._picked)
        self.canvas.enclosed.connect(self._enclosed)
        self._lay_out()
        self._listening = self._state.listen(case=self._on_case, network=self._on_network)
        self._viewer.events.theme.connect(self._on_theme)
        panel.closing.connect(self.shut_down)
        self._on_theme()
        self._refresh()

    def compute(self) -> None:
        """Make the plot of the present case, in a thread."""
        case, controller = self._state.case, self._controller
        if case is None:
            return
        self._images = dict(case.images)
        checkpoint, weights, device = controller.checkpoint, controller.weights, controller.device
        self._running_network = ""
        self._say("")

        def work(cancelled: Event) -> Iterator[tuple[str, Progress | PlacedPlot]]:
            network = ""

            def session() -> Session:
                nonlocal network
                chosen = checkpoint or load_weights(weights)
                network = chosen.sha256
                return open_session(chosen, case, device)

            for step in plot_steps(session, cancelled):
                yield network, step

        self._work.run(work)
        self._refresh()

    def cancel(self) -> None:
        """Stop computing; an older plot stays."""
        self._work.cancel()
        self._say("Cancelled.")
        self._refresh()

    def shut_down(self) -> None:
        """Stop threads and connections; what is shown stays."""
        if self._closed:
            return
        self._closed = True
        self._window.end()
        self._state.forget(self._listening)
        self._viewer.events.theme.disconnect(self._on_theme)
        self._work.close(CLOSING_SECONDS)
        self.canvas.close_canvas()
        self.layers.close()
        # Qt keeps what is connected to it alive, and that must not be a viewer.
        self.placed = self._viewer = None
        self._images = {}
        del self._state, self._controller  # napari keeps the dock, and they hold case and prediction
        self.setEnabled(False)

    def _lay_out(self) -> None:
        column = QVBoxLayout()
        for widget in (self.button, self.bar, self.message, self.legend):
            column.addWidget(widget)
        boxes = QHBoxLayout()
        for kind, box in self.kinds.items():
            box.setObjectName(f"show_{kind}")
            box.setChecked(True)
            box.toggled.connect(partial(self._show_kind, kind))
            boxes.addWidget(box)
        column.addLayout(boxes)
        column.addWidget(self.scores)
        column.addWidget(self.clear)
        column.addStretch(1)
        side = QWidget()
        side.setFixedWidth(COLUMN)
        side.setLayout(column)
        column.setContentsMargins(0, 0, 0, 0)
        row = QHBoxLayout(self)
        row.addWidget(side)
        row.addWidget(self.canvas, 1)

    def _show_kind(self, kind: object, shown: bool) -> None:
        self.canvas.show_kind(next(each for each in ENCODED if each == kind), shown=shown)

    def _clicked(self) -> None:
        self.cancel() if self._work.running else self.compute()

    def _received(self, step: tuple[str, Progress | PlacedPlot]) -> None:
        self._running_network, item = step
        if isinstance(item, Progress):
            self.bar.setRange(0, item.total)  # without a total the bar is busy
            self.bar.setValue(item.done)
            self._say(f"{item.stage}...")
            return
        if self._state.network not in ("", self._running_network):
            self._forget()
            self._say("The model was changed meanwhile: compute the plot again.")
            return
        self._take(item)
        self._say(HINT)

    def _take(self, placed: PlacedPlot | None) -> None:
        self.placed = placed
        self._shown_network = "" if placed is None else self._running_network
        self.layers.remove()
        self.canvas.draw_plot(None if placed is None else placed.plot)
        names = () if placed is None else placed.plot.cloud.names
        squares = [
            f'<span style="color:{COLOURS[place % len(COLOURS)]}">■</span> {name}' for place, name in enumerate(names)
        ]
        self.legend.setText("&nbsp; ".join(squares))
        said = "" if placed is None else placed.plot.describe().replace("; ", "<br>")
        self.scores.setText(said)

    def _over(self) -> None:
        self._refresh()

    def _failed(self, error: Exception) -> None:
        self._refresh()
        if isinstance(error, ModuleNotFoundError):
            error = _missing(error)
        known = isinstance(error, ShaSpecError)
        self._say(str(error) if known else f"{type(error).__name__}: {error}")
        if not known:
            raise error  # a bug: napari shows where

    def _picked(self, point: int) -> None:
        if self.placed is None:
            return
        self.layers.point_at(self.placed, point)
        cloud = self.placed.plot.cloud
        x, y, z = self.placed.place_mm(point)
        kind, modality = ENCODED[cloud.kinds[point]], cloud.names[cloud.modalities[point]]
        self._say(f"{kind} features of {modality} at {x:.0f}, {y:.0f}, {z:.0f} mm (right, front, top)")

    def _enclosed(self, points: NDArray[np.intp]) -> None:
        if self.placed is None:
            return
        voxels = self.layers.mark(self.placed, points)
        places = len(np.unique(self.placed.plot.cloud.sources[points]))
        volume_ml = voxels * self.placed.grid.voxel_volume_mm3 / 1000
        self._say(f"{len(points)} points at {places} places: {volume_ml:.0f} ml marked")

    def _on_case(self, *_: object) -> None:
        """Places of one case mean nothing in another; the same images with another reference are the same case."""
        case = self._state.case
        if case is None or dict(case.images) != self._images:
            self._forget()

    def _on_network(self, network: str, *_: object) -> None:
        # A plot whose thread has loaded no weights yet is looked at when it comes.
        if self._running_network not in ("", network):
            self._forget()
        elif self._shown_network not in ("", network):
            self._take(None)
            self._say("")

    def _forget(self) -> None:
        """Features of another case, or of another network, say nothing of this one."""
        self._images = {}
        self._running_network = ""
        self._work.cancel()
        self._take(None)
        self._say("")
        self._refresh()

    def _on_theme(self, *_: object) -> None:
        from napari.utils.theme import get_theme

        theme = get_theme(self._viewer.theme)
        self.canvas.set_colours(theme.background.as_hex(), theme.text.as_hex())

    def _refresh(self) -> None:
        running, ready = self._work.running, self._state.case is not None
        self.button.setText("Cancel" if running else "Compute the plot")
        self.button.setEnabled(running or ready)
        self.button.setToolTip("" if ready else "There is no case yet: drop one on the canvas")
        self.bar.setVisible(running)

    def _say(self, text: str) -> None:
        self.message.setText(text)


def open_feature_plot(panel: ShaSpecWidget) -> FeaturePlotDock:
    """The panel's plot, docked below the canvas if it is not there yet."""
    return open_below(panel, NAME, FeaturePlotDock)


def _missing(error: ModuleNotFoundError) -> ShaSpecError:
    return ShaSpecError(
        "matplotlib and scikit-learn", f"no {error.name}", 'Install them: pip install "napari-shaspec[plots]"'
    )


def _text() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setAlignment(Qt.AlignmentFlag.AlignTop)
    return label
