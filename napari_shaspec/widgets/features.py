"""Which feature maps are shown beside the labels."""

from __future__ import annotations

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QFormLayout, QLabel, QPushButton, QSpinBox, QWidget

from napari_shaspec.inference.feature_choice import FeatureChoice, FeatureKind, FeatureView
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import PluginState, Status

BOTTOM = "bottom"


class FeaturesPanel(QWidget):
    """Kind, level and view of the maps, one button for the whole set, and the grid.

    Parameters
    ----------
    state
        Whether there is something to show; never written here.
    """

    shown = Signal(object)
    """A `FeatureChoice` to show, or None to remove the set."""

    grid_changed = Signal(bool)

    def __init__(self, state: PluginState) -> None:
        super().__init__()
        self._state = state
        self.button = QPushButton("Show maps")
        self.button.setObjectName("show_features")
        self.button.setCheckable(True)
        self.button.clicked.connect(self._emit)
        self.kind = _combo("feature_kind", [kind.value for kind in FeatureKind])
        self.kind.setToolTip(
            "Shared: the encoder of all modalities. Specific: each one's own. Fused: what the decoder gets"
        )
        self.level = _combo("feature_level", [BOTTOM])
        self.view = _combo("feature_view", [view.value for view in FeatureView])
        self.view.setToolTip("Colours of principal components compare across modalities: one basis for all")
        self.channel = QSpinBox()
        self.channel.setObjectName("feature_channel")
        self.channel.setKeyboardTracking(False)
        self.other = _combo("feature_other", [modality.title for modality in Modality])
        self.other.setToolTip("Every map is compared with this modality's")
        self.grid = QCheckBox("Grid beside the labelled image")
        self.grid.setObjectName("feature_grid")
        self.grid.setChecked(True)
        self.grid.clicked.connect(self.grid_changed)
        self.line = QLabel()
        self.line.setWordWrap(True)
        for box in (self.kind, self.level, self.view, self.other):
            box.activated.connect(self._changed)
        self.channel.valueChanged.connect(self._changed)
        layout = QFormLayout(self)
        layout.addRow(self.button)
        layout.addRow("Maps", self.kind)
        layout.addRow("Level", self.level)
        layout.addRow("Shown as", self.view)
        layout.addRow("Channel", self.channel)
        layout.addRow("Compare with", self.other)
        layout.addRow(self.grid)
        layout.addRow(self.line)
        self._listening = state.listen(case=self.refresh, status=self.refresh)
        self.set_levels((1,))
        self.refresh()

    def set_levels(self, widths: tuple[int, ...]) -> None:
        """Offer the levels of a network of these widths."""
        self._widths = widths
        if self.level.count() == len(widths):
            self.refresh()
            return
        with QSignalBlocker(self.level):
            self.level.clear()
            for number in range(1, len(widths) + 1):
                self.level.addItem(BOTTOM if number == len(widths) else f"{number}")
            self.level.setCurrentIndex(len(widths) - 1)
        self.refresh()

    def choice(self) -> FeatureChoice:
        """As it is set now."""
        return FeatureChoice(
            FeatureKind(self.kind.currentText()),
            -1 if self.level.currentText() == BOTTOM else self.level.currentIndex(),
            FeatureView(self.view.currentText()),
            self.channel.value(),
            list(Modality)[self.other.currentIndex()],
        )

    def set_line(self, text: str) -> None:
        """What the user has to know about the maps."""
        self.line.setText(text)

    def set_shown(self, *, shown: bool) -> None:
        """Show whether the set is there."""
        with QSignalBlocker(self.button):
            self.button.setChecked(shown)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is now."""
        ready = self._state.case is not None
        self.button.setEnabled(ready)
        self.button.setText("Remove maps" if self.button.isChecked() else "Show maps")
        self.button.setToolTip(
            "Add or remove the whole set of layers" if ready else "There is no case yet: drop one on the canvas"
        )
        view = FeatureView(self.view.currentText())
        with QSignalBlocker(self.channel):
            self.channel.setRange(0, self._widths[min(self.level.currentIndex(), len(self._widths) - 1)] - 1)
        self.channel.setEnabled(view is FeatureView.CHANNEL)
        self.other.setEnabled(view is FeatureView.SIMILARITY)
        if self._state.status is Status.EMPTY and self.button.isChecked():
            self.set_shown(shown=False)

    def close_panel(self) -> None:
        """Stop listening."""
        self._state.forget(self._listening)

    def _changed(self, *_: object) -> None:
        self.refresh()
        if self.button.isChecked():
            self._emit()

    def _emit(self, *_: object) -> None:
        self.refresh()
        self.shown.emit(self.choice() if self.button.isChecked() else None)


def _combo(name: str, entries: list[str]) -> QComboBox:
    box = QComboBox()
    box.setObjectName(name)
    box.addItems(entries)
    return box
