"""Every subset of the images beside the others: volumes or Dice, what each image adds, and a map of where all agree."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import QSignalBlocker, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QComboBox, QFileDialog, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_shaspec.evaluation.answers import Answer, Compared, Sweep
from napari_shaspec.modalities import Modality
from napari_shaspec.plugin.palette import REGION_COLOURS
from napari_shaspec.plugin.state import PluginState
from napari_shaspec.plugin.sweeps import what_changed
from napari_shaspec.regions import Region
from napari_shaspec.widgets.tables import CENTRE, LEFT, ShownTable

VOLUME = "Volume in ml"
DICE = {compared: f"Dice with {compared}" for compared in Compared}
NO_MAP = "none"
ON = "●"
TINT = 110
"""Opacity of a cell, of 255, for a Dice of 1."""

ROW_PIXELS = 24
FIRST_REGION = len(Modality)
FEWEST = 2
"""Images of which subsets can be compared."""


class SubsetsPanel(QWidget):
    """A row for each subset; to choose one is to switch the modalities so.

    Parameters
    ----------
    state
        What is shown; never written here.
    """

    run_clicked = Signal()
    cancel_clicked = Signal()
    subset_chosen = Signal(object)
    """The modalities of a row."""

    map_chosen = Signal(object)
    """The region whose map is wanted, or None."""

    save_chosen = Signal(object)
    """The path of a table."""

    def __init__(self, state: PluginState) -> None:
        super().__init__()
        self._state = state
        self.button = QPushButton()
        self.button.setObjectName("sweep")
        self.button.clicked.connect(self._clicked)
        self.bar = QProgressBar()
        self.bar.setObjectName("sweep_progress")
        self.bar.setAccessibleName("Subsets that have answered")
        self.line = QLabel()
        self.line.setObjectName("sweep_line")
        self.line.setWordWrap(True)
        self.shown = _combo("sweep_shown", "Numbers of the table")
        self.shown.textActivated.connect(self.refresh)
        titles = [each.title for each in Modality]
        tips = dict.fromkeys(titles, "Whether the network is given it") | dict.fromkeys(Region, "Of this region")
        self.table = ShownTable(0, [*titles, *Region], "Subsets", tips)
        self.table.setSelectionMode(ShownTable.SelectionMode.SingleSelection)
        self.table.setSelectionBehavior(ShownTable.SelectionBehavior.SelectRows)
        rows = self.table.verticalHeader()
        assert rows is not None
        rows.setDefaultSectionSize(ROW_PIXELS)
        self.table.setToolTip("Click a row, or walk with the arrow keys: the modalities are switched so")
        self.table.itemSelectionChanged.connect(self._row_chosen)
        self.adds_title = QLabel()
        self.adds_title.setWordWrap(True)
        self.adds = ShownTable(0, ["Adds", *Region], "Contributions", {})
        self.adds.setSelectionMode(ShownTable.SelectionMode.ContiguousSelection)
        self.map = _combo("consensus", "Consensus map of")
        self.map.addItems([NO_MAP, *Region])
        self.map.activated.connect(lambda index: self.map_chosen.emit(list(Region)[index - 1] if index else None))
        self.save = QPushButton("Save table...")
        self.save.setObjectName("save_sweep")
        self.save.clicked.connect(self._save)
        self._lay_out()
        told = ("swept", "sweeping", "case", "available", "network", "thresholds", "smooth", "slots")
        self._listening = state.listen(**dict.fromkeys(told, self.refresh))
        self.refresh()

    def set_map(self, region: Region | None) -> None:
        """Show whose map is there."""
        with QSignalBlocker(self.map):
            self.map.setCurrentText(NO_MAP if region is None else region)

    def refresh(self, *_: object) -> None:
        """Show the state as it is now."""
        state = self._state
        sweep = state.swept.sweep if state.swept is not None else None
        count = 0 if state.case is None else len(state.case.available)
        self.button.setText(
            "Stop comparing" if state.sweeping else f"Compare all {2 ** max(count, FEWEST) - 1} subsets"
        )
        self.button.setEnabled(state.sweeping or count >= FEWEST)
        self.button.setToolTip(_what_it_does(state, count))
        self.bar.setVisible(state.sweeping)
        self.bar.setRange(0, 0 if sweep is None else sweep.total)  # without an answer nobody knows how long it takes
        self.bar.setValue(0 if sweep is None else len(sweep.answers))
        self.bar.setFormat("" if sweep is None else f"{len(sweep.answers)} of {sweep.total}")
        self.line.setText(_what_to_know(state))
        self.line.setVisible(bool(self.line.text()))
        self._offer_numbers(sweep)
        self._fill(sweep)
        self._fill_adds(sweep)
        finished = sweep is not None and sweep.finished
        self.shown.setVisible(sweep is not None)
        self.table.setVisible(sweep is not None)
        self._last.setVisible(finished)

    def close_panel(self) -> None:
        """Stop listening."""
        self._state.forget(self._listening)

    def _lay_out(self) -> None:
        self.map.setToolTip("A layer of the share of the answers that mark each voxel")
        self._last = QWidget()
        last = QHBoxLayout(self._last)
        last.setContentsMargins(0, 0, 0, 0)
        last.addWidget(QLabel("Consensus map of"))
        last.addWidget(self.map)
        last.addStretch(1)
        last.addWidget(self.save)
        layout = QVBoxLayout(self)
        for widget in (self.button, self.bar, self.line, self.shown, self.table, self.adds_title, self.adds):
            layout.addWidget(widget)
        layout.addWidget(self._last)
        layout.addStretch(1)

    def _compared(self) -> Compared | None:
        """What the table shows: Dice with this, or volumes."""
        return next((compared for compared, title in DICE.items() if title == self.shown.currentText()), None)

    def _offer_numbers(self, sweep: Sweep | None) -> None:
        offered = [
            VOLUME,
            *(DICE[compared] for compared in Compared if sweep is not None and compared in sweep.volumes_ml),
        ]
        if sweep is None or [self.shown.itemText(place) for place in range(self.shown.count())] == offered:
            return
        with QSignalBlocker(self.shown):
            self.shown.clear()
            self.shown.addItems(offered)
            self.shown.setCurrentIndex(len(offered) - 1)  # the reference, where there is one

    def _fill(self, sweep: Sweep | None) -> None:
        answers = () if sweep is None else sweep.answers
        compared = self._compared()
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(answers))
            for row, answer in enumerate(answers):
                for column, modality in enumerate(Modality):
                    self.table.cell(row, column, CENTRE).setText(ON if modality in answer.available else "")
                for column, region in enumerate(Region, FIRST_REGION):
                    self._fill_number(row, column, answer, region, compared)
            here = [row for row, answer in enumerate(answers) if answer.available == self._state.available]
            self.table.clearSelection()
            if here:
                self.table.setCurrentCell(here[0], FIRST_REGION)
        self.table.fit_rows()

    def _fill_number(self, row: int, column: int, answer: Answer, region: Region, compared: Compared | None) -> None:
        item = self.table.cell(row, column)
        if compared is None:
            item.setText(f"{answer.volumes_ml[region]:.1f}")
            item.setBackground(QColor(0, 0, 0, 0))
            return
        value = answer.dice[compared][region]
        item.setText(f"{value:.2f}")
        item.setBackground(QColor(*REGION_COLOURS[region], round(TINT * value)))

    def _fill_adds(self, sweep: Sweep | None) -> None:
        compared = self._compared()
        added = sweep.contributions.get(compared, {}) if sweep is not None and compared is not None else {}
        several = sweep is not None and sweep.total > 1
        for widget in (self.adds, self.adds_title):
            widget.setVisible(bool(added) and several)
        if sweep is None or not added:
            return
        self.adds_title.setText(f"What each image adds to {DICE[compared]} (Shapley value)" if compared else "")
        images = [each for each in Modality if each in sweep.answers[0].available]
        self.adds.setRowCount(len(images))
        for row, modality in enumerate(images):
            self.adds.cell(row, 0, LEFT).setText(modality.title)
            for column, region in enumerate(Region, 1):
                self.adds.cell(row, column).setText(f"{added[region][modality]:+z.2f}" if region in added else "")
        self.adds.fit_rows()

    def _row_chosen(self) -> None:
        row, swept = self.table.currentRow(), self._state.swept
        if swept is not None and 0 <= row < len(swept.sweep.answers) and self.table.selectedItems():
            self.subset_chosen.emit(swept.sweep.answers[row].available)

    def _clicked(self) -> None:
        (self.cancel_clicked if self._state.sweeping else self.run_clicked).emit()

    def _save(self) -> None:
        name, _ = QFileDialog.getSaveFileName(self, "Save the table", "subsets.csv", "Tables (*.csv)")
        if name:
            self.save_chosen.emit(Path(name))


def _what_it_does(state: PluginState, count: int) -> str:
    if state.sweeping:
        return "The rows that are there stay (Esc)"
    if state.case is None:
        return "There is no case yet: drop one on the canvas"
    if count < FEWEST:
        return "A single image has no subsets: load another modality of this case"
    return "Predict from every subset of the images; you can go on working meanwhile"


def _what_to_know(state: PluginState) -> str:
    swept = state.swept
    if swept is None:
        return (
            "" if state.sweeping else "What would the answer be with other images? Predicts from every subset of them."
        )
    lines = []
    if changed := what_changed(state):
        lines.append(f"Changed since then: {changed}. Compare again to see what that does.")
    if not state.sweeping and not swept.sweep.finished:
        lines.append(f"Stopped after {len(swept.sweep.answers)} of {swept.sweep.total} subsets.")
    return "\n".join(lines)


def _combo(name: str, title: str) -> QComboBox:
    box = QComboBox()
    box.setObjectName(name)
    box.setAccessibleName(title)
    return box
