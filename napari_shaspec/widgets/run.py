"""Live, predict or cancel, progress, model and device, and the lines that have to be read."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_shaspec.modalities import subset_title
from napari_shaspec.plugin.state import PluginState, Status
from napari_shaspec.widgets.modalities import NO_CASE

BUNDLED = "bundled"
OTHER = "choose a file..."
CHECKPOINTS = "Checkpoints (*.safetensors *.pth *.pt)"
NAMES_IN_MESSAGE = 3


class RunPanel(QWidget):
    """What starts, stops and steers the network.

    Parameters
    ----------
    state
        What is shown; never written here.
    """

    live_changed = Signal(bool)
    run_clicked = Signal()
    cancel_clicked = Signal()
    model_chosen = Signal(object)
    """A path, or None for the bundled weights."""

    device_chosen = Signal(str)

    def __init__(self, state: PluginState) -> None:
        super().__init__()
        self._state = state
        self._weights: Path | None = None
        self.live = QCheckBox("Live")
        self.live.setObjectName("live")
        self.live.setToolTip("Predict again at every change of modalities")
        self.live.clicked.connect(self.live_changed)
        self.button = QPushButton("Predict")
        self.button.setObjectName("predict")
        self.button.clicked.connect(self._clicked)
        self.bar = QProgressBar()
        self.bar.setObjectName("progress")
        self.bar.setAccessibleName("Progress")
        self.model = QComboBox()
        self.model.setObjectName("model")
        self.model.setAccessibleName("Model")
        self.model.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.model.activated.connect(self._choose_model)
        self.device = QComboBox()
        self.device.setObjectName("device")
        self.device.setAccessibleName("Device")
        self.device.setToolTip("Where the network runs; those that work here are listed from the first answer on")
        self.device.textActivated.connect(self.device_chosen)
        self.statement = _line("statement", "font-weight: bold")
        self.message = _line("message", "border-left: 3px solid #e66100; padding-left: 6px")
        self.notes = _line("notes", "")

        first = QHBoxLayout()
        first.addWidget(self.live)
        first.addWidget(self.button, 1)
        choices = QGridLayout()
        choices.addWidget(QLabel("Model"), 0, 0)
        choices.addWidget(self.model, 0, 1)
        choices.addWidget(QLabel("Device"), 0, 2)
        choices.addWidget(self.device, 0, 3)
        choices.setColumnStretch(1, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.statement)
        layout.addLayout(first)
        layout.addWidget(self.bar)
        layout.addWidget(self.message)
        layout.addWidget(self.notes)
        layout.addLayout(choices)
        self.set_model(None)
        self.set_devices(("auto", "cpu"), "auto")
        self._listening = state.listen(
            status=self.refresh,
            progress=self.refresh,
            live=self.refresh,
            message=self.refresh,
            problems=self.refresh,
            left_out=self.refresh,
            notes=self.refresh,
            statement=self.refresh,
            network=self.refresh,
            case=self.refresh,
            result=self.refresh,
            images=self.refresh,
            slots=self.refresh,
            available=self.refresh,
        )
        self.refresh()

    def set_model(self, weights: Path | None) -> None:
        """Show which weights are chosen."""
        self._weights = weights
        with QSignalBlocker(self.model):
            self.model.clear()
            self.model.addItem(BUNDLED)
            if weights is not None:
                self.model.addItem(weights.name)
            self.model.addItem(OTHER)
            self.model.setCurrentIndex(0 if weights is None else 1)
        self.model.setToolTip("The weights that come with the plugin" if weights is None else str(weights))

    def set_devices(self, names: tuple[str, ...], chosen: str) -> None:
        """Offer these devices."""
        with QSignalBlocker(self.device):
            self.device.clear()
            self.device.addItems(names)
            self.device.setCurrentText(chosen)

    def refresh(self, *_: object) -> None:
        """Show the state as it is now."""
        state = self._state
        running = state.status is Status.RUNNING
        with QSignalBlocker(self.live):
            self.live.setChecked(state.live)
        self.button.setText("Cancel" if running else "Predict")
        self.button.setEnabled(running or state.case is not None)
        lacking = _what_is_lacking(state)
        if running:
            self.button.setToolTip("Stop at the next tile (Esc)")
        else:
            self.button.setToolTip(lacking or "Segment with the modalities that are switched on")
        self._refresh_bar()
        self.statement.setText(state.statement)
        lines = [*state.problems, state.left_out, state.message, _whose_labels(state)]
        if state.status is Status.EMPTY and state.images and not (state.slots and state.message):  # which says more
            lines.append(lacking)
        self.message.setText("\n".join(filter(None, lines)))
        self.notes.setText("\n".join(note for note in state.notes if note not in state.message.splitlines()))
        for line in (self.statement, self.message, self.notes):
            line.setVisible(bool(line.text()))

    def close_panel(self) -> None:
        """Stop listening."""
        self._state.forget(self._listening)

    def _refresh_bar(self) -> None:
        state = self._state
        progress = state.progress
        if state.status is Status.RUNNING and progress.total:
            self.bar.setRange(0, progress.total)
            self.bar.setValue(progress.done)
            self.bar.setFormat(f"{progress.stage}, tile {progress.done} of {progress.total}")
        elif state.status in (Status.RUNNING, Status.ASSEMBLING):
            self.bar.setRange(0, 0)
            self.bar.setFormat(progress.stage or state.status.value)
        else:
            self.bar.setRange(0, 1)
            self.bar.setValue(0 if state.result is None else 1)
            done = state.result
            if done is not None:
                self.bar.setFormat(f"done in {done.seconds:.1f} s on {done.device}")
            elif state.status is Status.EMPTY:
                self.bar.setFormat("no case yet" if state.images else "drop a case folder or NIfTI files on the canvas")
            else:
                self.bar.setFormat(state.status.value)

    def _clicked(self) -> None:
        (self.cancel_clicked if self._state.status is Status.RUNNING else self.run_clicked).emit()

    def _choose_model(self, index: int) -> None:
        if self.model.itemText(index) == BUNDLED and index == 0:
            self.model_chosen.emit(None)
        elif index == self.model.count() - 1:
            name, _ = QFileDialog.getOpenFileName(self, "Choose a checkpoint", "", CHECKPOINTS)
            self.set_model(self._weights)
            if name:
                self.model_chosen.emit(Path(name))


def _whose_labels(state: PluginState) -> str:
    """Where the labels are of another subset or network than is chosen, because nothing runs by itself."""
    result = state.result
    if result is None or state.status is not Status.READY:
        return ""
    shown, chosen = subset_title(result.available), subset_title(state.available)
    if result.checkpoint.sha256 != state.network:
        shown, chosen = f"{shown} by the model before", f"{chosen} by the chosen one"
    if shown == chosen:
        return ""
    return f"Labels and numbers are of {shown}; Predict makes those of {chosen}."


def _what_is_lacking(state: PluginState) -> str:
    """Why there is no case to predict from; empty where there is one."""
    if state.case is not None:
        return ""
    if state.status is Status.ASSEMBLING:
        return "The images are being brought onto one grid."
    if state.slots:
        return NO_CASE
    if not state.images:
        return "There is no image yet: drop a case folder or NIfTI files on the canvas."
    named = ", ".join(state.images[:NAMES_IN_MESSAGE]) + (", ..." if len(state.images) > NAMES_IN_MESSAGE else "")
    return f"No row uses {named}: choose a layer there. Files named like case_t1c.nii.gz find their rows themselves."


def _line(name: str, style: str) -> QLabel:
    line = QLabel()
    line.setObjectName(name)
    line.setWordWrap(True)
    line.setStyleSheet(style)
    return line
