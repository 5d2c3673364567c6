"""The dock for Audiovision-MNIST: which pair, what of it is available, and how probable each digit is then."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from qtpy.QtCore import QEventLoop, QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
)

from napari_shaspec.errors import ShaSpecError
from napari_shaspec.plugin.controller import CLOSING_SECONDS
from napari_shaspec.plugin.digit_pairs import PAIR, TrainedPairs, pair_layers, training_steps
from napari_shaspec.plugin.latest import Latest
from napari_shaspec.plugin.state import Progress
from napari_shaspec.plugin.threads import start_thread
from napari_shaspec.widgets.layout import bring_forward
from napari_shaspec.widgets.leaving import Dock

if TYPE_CHECKING:
    from napari import Viewer
    from napari.layers import Layer

    from napari_shaspec.classification.av_mnist import AudiovisionMNIST
    from napari_shaspec.plugin.layers import LayerData

NAME = "Audiovision-MNIST"
MODALITIES = ("image", "sound")
DIGITS = 10


class DigitsDock(Dock):
    """A test pair as layers, two check boxes, ten bars.

    Parameters
    ----------
    viewer
        Where the layers are shown.
    """

    read = Signal()
    """The data are there, or will not come."""

    def __init__(self, viewer: Viewer) -> None:
        super().__init__()
        self._viewer = viewer
        self._closed = False
        self.data: AudiovisionMNIST | None = None
        self.trained: TrainedPairs | None = None
        self._work: Latest[Progress | AudiovisionMNIST | TrainedPairs] = Latest(
            start_thread, self._received, self._refresh, self._failed
        )
        self.button = QPushButton("Choose the data...")
        self.button.setObjectName("digits_data")
        self.button.clicked.connect(self._clicked)
        self.bar = QProgressBar()
        self.message = QLabel()
        self.message.setWordWrap(True)
        self.pair = QSpinBox()
        self.pair.setObjectName("digits_pair")
        self.pair.valueChanged.connect(self._on_pair)
        self.boxes = {name: QCheckBox(name) for name in MODALITIES}
        self.bars = [QProgressBar() for _ in range(DIGITS)]
        form = QFormLayout()
        form.addRow("Test pair", self.pair)
        for name, box in self.boxes.items():
            box.setObjectName(f"available_{name}")
            box.setChecked(True)
            box.toggled.connect(partial(self._on_box, name))
            form.addRow(box)
        for digit, bar in enumerate(self.bars):
            bar.setRange(0, 1000)
            bar.setFormat("")
            form.addRow(str(digit), bar)
        column = QVBoxLayout(self)
        for widget in (self.button, self.bar, self.message):
            column.addWidget(widget)
        column.addLayout(form)
        column.addStretch(1)
        self._refresh()

    def open_folder(self, folder: Path) -> None:
        """Read the data below a folder and train on it, in a thread."""

        def work(cancelled: Event) -> Iterator[Progress | AudiovisionMNIST | TrainedPairs]:
            yield from training_steps(folder, cancelled)

        self._work.run(work)
        self._refresh()

    def shut_down(self) -> None:
        """Stop the thread; the layers stay."""
        if not self._closed:
            self._closed = True
            self._window.end()
            self._work.close(CLOSING_SECONDS)
            self.read.emit()
            self._viewer = None

    def choose(self) -> None:
        """Ask for the folder, and open it; nothing where there is a network already, or one on its way."""
        if self.trained is None and not self._work.running:
            folder = QFileDialog.getExistingDirectory(self, "The folder with MNIST's files and the recordings")
            if folder:
                self.open_folder(Path(folder))

    def layers(self) -> list[LayerData]:
        """The chosen pair, once the data are read: the window stays alive while they are waited for.

        Raises
        ------
        ShaSpecError
            If there are no data.
        """
        self.choose()
        if self.data is None and self._work.running:
            waiting = QEventLoop()
            self.read.connect(waiting.quit)
            waiting.exec()
        if self.data is None:
            raise ShaSpecError("MNIST and recordings", self.message.text() or "no folder", "Choose their folder")
        for name in MODALITIES:
            shown = self._layer(name)
            if shown is not None:
                self._viewer.layers.remove(shown)  # napari adds what a sample gives
        return pair_layers(self.data.test, self.pair.value())

    def _clicked(self) -> None:
        if self._work.running:
            self._work.cancel()
            self.message.setText("Cancelled.")
            self.read.emit()
            self._refresh()
        else:
            self.choose()

    def _received(self, item: Progress | AudiovisionMNIST | TrainedPairs) -> None:
        if isinstance(item, Progress):
            self.bar.setRange(0, item.total)  # without a total the bar is busy
            self.bar.setValue(item.done)
            self.message.setText(f"{item.stage}...")
        elif isinstance(item, TrainedPairs):
            self.trained = item
            self._on_pair()
        else:
            self.data = item
            with QSignalBlocker(self.pair):
                self.pair.setRange(0, len(item.test.digits) - 1)
            self.read.emit()

    def _failed(self, error: Exception) -> None:
        if isinstance(error, ModuleNotFoundError):
            hint = 'Install it: pip install "napari-shaspec[avmnist]"'
            error = ShaSpecError("librosa", f"no {error.name}", hint)
        known = isinstance(error, ShaSpecError)
        self.message.setText(str(error) if known else f"{type(error).__name__}: {error}")
        self.read.emit()
        self._refresh()
        if not known:
            raise error  # a bug: napari shows where

    def _on_pair(self, *_: object) -> None:
        if self.data is None or self._viewer is None:
            return
        for data, options, _kind in pair_layers(self.data.test, self.pair.value()):
            layer = self._layer(options["name"])
            if layer is None:
                self._viewer.add_image(data, **options, visible=self.boxes[options["name"]].isChecked())
            else:
                layer.data = data
        self._predict()

    def _layer(self, name: str) -> Layer | None:
        return next((layer for layer in self._viewer.layers if layer.metadata.get(PAIR) == name), None)

    def _on_box(self, name: str, on: bool) -> None:
        if not any(box.isChecked() for box in self.boxes.values()):
            with QSignalBlocker(self.boxes[name]):
                self.boxes[name].setChecked(True)
            self.message.setText("At least one has to stay on: without any input there is nothing to predict from.")
            return
        layer = self._layer(name)
        if layer is not None:
            layer.visible = on
        self._predict()

    def _predict(self) -> None:
        if self.trained is None:
            return
        available = [name for name, box in self.boxes.items() if box.isChecked()]
        shares = self.trained.probabilities(self.pair.value(), available)
        for share, bar in zip(shares, self.bars, strict=True):
            bar.setValue(round(1000 * float(share)))
            bar.setFormat(f"{share:.1%}")
        digit = int(self.trained.data.test.digits[self.pair.value()])
        self.message.setText(
            f"The digit is {digit}; from {' and '.join(available)} the network says {shares.argmax()}."
        )

    def _refresh(self) -> None:
        running = self._work.running
        self.button.setText("Cancel" if running else "Choose the data...")
        self.button.setToolTip("MNIST's four files and the recordings of the Free Spoken Digit Dataset, at any depth")
        self.bar.setVisible(running)
        self.button.setVisible(running or self.trained is None)
        for widget in (self.pair, *self.boxes.values()):
            widget.setEnabled(self.trained is not None)


def open_digits(viewer: Viewer) -> DigitsDock:
    """The viewer's dock, opened if it is not there yet."""
    there = viewer.window.dock_widgets.get(NAME)
    if isinstance(there, DigitsDock):
        bring_forward(there)
        return there
    dock = DigitsDock(viewer)
    viewer.window.add_dock_widget(dock, name=NAME, area="right", add_vertical_stretch=False)
    return dock
