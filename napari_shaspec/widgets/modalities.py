"""A row for each modality: available or not, the layer it uses, solo, and what stands in for it."""

from __future__ import annotations

from collections.abc import Mapping

from qtpy.QtCore import QSignalBlocker, Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QGridLayout, QLabel, QSizePolicy, QToolButton, QWidget

from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.state import PluginState, Status

NO_LAYER = "no layer"
NO_CASE = "The images in the rows do not make a case: take out what does not belong to it."


class ModalitiesPanel(QWidget):
    """Check boxes, layers, solo buttons and states.

    Parameters
    ----------
    state
        What is shown; never written here.
    """

    toggled = Signal(object, bool)
    """A modality's check box was clicked."""

    soloed = Signal(object)
    layer_chosen = Signal(object, object)
    """A modality and the name of a layer, or None."""

    def __init__(self, state: PluginState) -> None:
        super().__init__()
        self._state = state
        self._warnings: Mapping[Modality, str] = {}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setVerticalSpacing(1)
        layout.setColumnStretch(1, 1)
        self.boxes: dict[Modality, QCheckBox] = {}
        self.layers: dict[Modality, QComboBox] = {}
        self.solos: dict[Modality, QToolButton] = {}
        self.states: dict[Modality, QLabel] = {}
        for number, modality in enumerate(Modality):
            self._add_row(layout, number, modality)
        self._listening = state.listen(
            available=self.refresh,
            case=self.refresh,
            encoded=self.refresh,
            images=self.refresh,
            slots=self.refresh,
            stand_in=self.refresh,
            status=self.refresh,
        )
        self.refresh()

    def set_layers(self, origins: Mapping[str, str]) -> None:
        """Offer these layers in every row; where each comes from tells those of several cases apart."""
        for modality, box in self.layers.items():
            with QSignalBlocker(box):
                box.clear()
                box.addItems([NO_LAYER, *origins])
                for index, origin in enumerate(origins.values(), 1):
                    box.setItemData(index, origin, Qt.ItemDataRole.ToolTipRole)
                box.setCurrentText(self._state.slots.get(modality, NO_LAYER))

    def set_warnings(self, warnings: Mapping[Modality, str]) -> None:
        """What is unusual about a modality's image; shown beside its row."""
        self._warnings = dict(warnings)
        self.refresh()

    def refresh(self, *_: object) -> None:
        """Show the state as it is now."""
        state = self._state
        loaded = state.case.available if state.case is not None else frozenset(state.slots)
        for modality in Modality:
            exists, on = modality in loaded, modality in state.available
            box, solo = self.boxes[modality], self.solos[modality]
            with QSignalBlocker(box):
                box.setChecked(on)
            box.setEnabled(exists and state.case is not None)
            box.setToolTip(self._box_tip(modality, exists=exists))
            solo.setEnabled(exists and state.case is not None)
            with QSignalBlocker(solo):
                solo.setChecked(exists and state.available == {modality})
            with QSignalBlocker(self.layers[modality]):
                self.layers[modality].setCurrentText(state.slots.get(modality, NO_LAYER))
            self._show_state(modality, exists=exists, on=on)

    def close_panel(self) -> None:
        """Stop listening."""
        self._state.forget(self._listening)

    def _add_row(self, layout: QGridLayout, number: int, modality: Modality) -> None:
        box = self.boxes[modality] = QCheckBox(modality.title)
        box.setObjectName(f"available_{modality}")
        box.clicked.connect(lambda on, modality=modality: self.toggled.emit(modality, on))
        layer = self.layers[modality] = QComboBox()
        layer.setObjectName(f"layer_{modality}")
        layer.setAccessibleName(f"Layer for {modality.title}")
        layer.addItem(NO_LAYER)
        layer.setToolTip(f"The layer that is used as {modality.title}")
        layer.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        layer.activated.connect(lambda index, modality=modality: self._choose(modality, index))
        solo = self.solos[modality] = QToolButton()
        solo.setObjectName(f"solo_{modality}")
        solo.setText("solo")
        solo.setAccessibleName(f"{modality.title} alone")
        solo.setCheckable(True)
        solo.setToolTip(f"Predict from {modality.title} alone; click again for all modalities")
        solo.clicked.connect(lambda on, modality=modality: self.soloed.emit(modality))
        text = self.states[modality] = QLabel()
        text.setObjectName(f"state_{modality}")
        text.setWordWrap(True)
        text.setStyleSheet("font-size: 10px; margin: 0px 0px 3px 22px; padding: 0px")
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        layout.addWidget(box, 2 * number, 0)
        layout.addWidget(layer, 2 * number, 1)
        layout.addWidget(solo, 2 * number, 2)
        layout.addWidget(text, 2 * number + 1, 0, 1, 3)

    def _choose(self, modality: Modality, index: int) -> None:
        self.layer_chosen.emit(modality, self.layers[modality].itemText(index) if index > 0 else None)

    def _box_tip(self, modality: Modality, *, exists: bool) -> str:
        key = list(Modality).index(modality) + 1
        state = self._state
        if not exists:
            choice = ", or choose a layer for it" if state.images else ""
            return f"No {modality.title} is loaded. Drop one on the canvas{choice}."
        if state.status is Status.ASSEMBLING:
            return "The images are being brought onto one grid."
        if state.case is None:
            return NO_CASE
        return f"Give the network the {modality.title} (key {key})"

    def _show_state(self, modality: Modality, *, exists: bool, on: bool) -> None:
        state = self._state
        present = [each.title for each in Modality if each in state.available]
        stand_in = state.stand_in
        if not stand_in or stand_in.startswith("mean"):
            stand_in = f"{'mean of ' if len(present) > 1 else ''}{', '.join(present)}"
        if exists and state.case is None:
            text = "loaded" if state.status is Status.ASSEMBLING else "loaded, but the images do not make a case"
        elif exists and on:
            text = "encoded" if modality in state.encoded else "loaded"
        elif state.status is Status.EMPTY or not present:
            text = "missing"
        else:
            text = f"{'off' if exists else 'missing'} (stand-in: {stand_in})"
        warning = self._warnings.get(modality, "")
        self.states[modality].setText(f"{text}  \N{WARNING SIGN} {warning}" if warning else text)
        self.states[modality].setToolTip(warning)
