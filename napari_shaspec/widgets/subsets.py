"""Every subset of the images beside the others: volumes or Dice, what each image adds, and a map of where all agree."""

from __future__ import annotations

from collections.abc import Sequence
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

INTRODUCTION = "What would the answer be with fewer images? Predicts from every subset of those that are loaded."
ROWS_TIP = "Click a row, or walk with the arrow keys: the modalities are switched so, and with Live the labels follow"
VOLUME = "Volume in ml"
DICE = {compared: f"Dice with {compared.title}" for compared in Compared}
EXPECTED = "Trust: Dice where the truth is known"
ADDS = {
    Compared.ALL: "What each image gives of the answer from all images (Shapley value of Dice)",
    Compared.REFERENCE: "What each image adds to Dice with the reference (Shapley value)",
}
ADDS_TIP = (
    "The mean gain over all orders in which the images could come in; what one can stand in for another is shared "
    "between them. The sum is the Dice of all. What is lost without a single image stands in the rows of all but one."
)
NO_MAP = "none"
GIVEN = "●"
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
        self.table = _table_of_subsets()
        self.table.itemSelectionChanged.connect(self._row_chosen)
        self.adds_title = QLabel()
        self.adds_title.setWordWrap(True)
        self.adds = ShownTable(0, ["Adds", *Region], "Contributions", {})
        self.adds.setToolTip(ADDS_TIP)
        self.adds.setSelectionMode(ShownTable.SelectionMode.ContiguousSelection)
        self.map = _combo("consensus", "Consensus map of")
        self.map.setToolTip("A layer of the share of the answers that mark each voxel")
        self.map.addItems([NO_MAP, *Region])
        self.map.activated.connect(lambda index: self.map_chosen.emit(list(Region)[index - 1] if index else None))
        self.save = QPushButton("Save table...")
        self.save.setObjectName("save_sweep")
        self.save.clicked.connect(self._save)
        self._results = QWidget()
        self._lay_out()
        shown = ("swept", "sweeping", "sweep_stopped", "subset_trust", "case", "available", "network")
        self._listening = state.listen(**dict.fromkeys((*shown, "thresholds", "smooth"), self.refresh))
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
        subsets = f"all {2**count - 1} subsets" if count >= FEWEST else "all subsets"
        self.button.setText("Stop comparing" if state.sweeping else f"Compare {subsets}")
        self.button.setEnabled(state.sweeping or count >= FEWEST)
        self.button.setToolTip(_what_it_does(state, count))
        self._show_progress(sweep)
        self.line.setText(_what_to_know(state))
        self.line.setVisible(bool(self.line.text()))
        self._offer_numbers(sweep)
        self._fill(sweep)
        self._fill_adds(sweep)
        for widget in (self.shown, self.table, self._results):
            widget.setVisible(sweep is not None)
        self.map.setEnabled(sweep is not None and sweep.finished)
        self.save.setEnabled(not state.sweeping)

    def close_panel(self) -> None:
        """Stop listening."""
        self._state.forget(self._listening)

    def _lay_out(self) -> None:
        results = QHBoxLayout(self._results)
        results.setContentsMargins(0, 0, 0, 0)
        results.addWidget(QLabel("Consensus map of"))
        results.addWidget(self.map)
        results.addStretch(1)
        results.addWidget(self.save)
        layout = QVBoxLayout(self)
        for widget in (self.button, self.bar, self.line, self.shown, self.table, self.adds_title, self.adds):
            layout.addWidget(widget)
        layout.addWidget(self._results)
        layout.addStretch(1)

    def _show_progress(self, sweep: Sweep | None) -> None:
        self.bar.setVisible(self._state.sweeping)
        if sweep is None or sweep.finished:  # of the answers before: nobody knows yet how long the first one takes
            self.bar.setRange(0, 0)
            self.bar.setFormat("")
        else:
            self.bar.setRange(0, sweep.total)
            self.bar.setValue(len(sweep.answers))
            self.bar.setFormat(f"{len(sweep.answers)} of {sweep.total}")

    def _compared(self) -> Compared | None:
        """What the table shows: Dice with this, or something else."""
        return next((compared for compared, title in DICE.items() if title == self.shown.currentText()), None)

    def _offer_numbers(self, sweep: Sweep | None) -> None:
        if sweep is None:
            return
        offered = [VOLUME, *(DICE[each] for each in Compared if each in sweep.volumes_ml)]
        if any(trust.dice is not None for row in self._state.subset_trust.values() for trust in row.values()):
            offered.append(EXPECTED)
        if [self.shown.itemText(place) for place in range(self.shown.count())] == offered:
            return
        chosen = self.shown.currentText()
        with QSignalBlocker(self.shown):
            self.shown.clear()
            self.shown.addItems(offered)
            self.shown.setCurrentText(chosen if chosen in offered else DICE[sweep.best_compared])

    def _fill(self, sweep: Sweep | None) -> None:
        answers = () if sweep is None else sweep.answers
        compared = self._compared()
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(answers))
            for row, answer in enumerate(answers):
                for column, modality in enumerate(Modality):
                    self.table.cell(row, column, CENTRE).setText(GIVEN if modality in answer.available else "")
                for column, region in enumerate(Region, FIRST_REGION):
                    self._fill_number(row, column, answer, region, compared)
            here = [row for row, answer in enumerate(answers) if answer.available == self._state.available]
            self.table.clearSelection()
            if here:
                self.table.setCurrentCell(here[0], FIRST_REGION)
        self.table.fit_rows()

    def _fill_number(self, row: int, column: int, answer: Answer, region: Region, compared: Compared | None) -> None:
        item = self.table.cell(row, column)
        trust = self._state.subset_trust.get(answer.available, {}).get(region)
        item.setToolTip("" if trust is None else trust.explained)
        if self.shown.currentText() == VOLUME:
            item.setText(f"{answer.volumes_ml[region]:.1f}")
            item.setBackground(QColor(0, 0, 0, 0))
            return
        expected = None if trust is None else trust.dice
        value = expected if compared is None else answer.dice[compared][region]
        item.setText("-" if value is None else f"{value:.2f}")
        item.setBackground(QColor(*REGION_COLOURS[region], round(TINT * (value or 0))))

    def _fill_adds(self, sweep: Sweep | None) -> None:
        compared = self._compared()
        added = sweep.contributions.get(compared, {}) if sweep is not None and compared is not None else {}
        for widget in (self.adds, self.adds_title):
            widget.setVisible(bool(added))
        if sweep is None or compared is None or not added:
            return
        self.adds_title.setText(ADDS[compared])
        images = [each for each in Modality if each in sweep.answers[0].available]
        self.adds.setRowCount(len(images) + 1)
        for row, modality in enumerate(images):
            values = [f"{added[region][modality]:+z.2f}" if region in added else "" for region in Region]
            self._fill_row(row, modality.title, values)
        sums = [f"{sum(added[region].values()):.2f}" if region in added else "" for region in Region]
        self._fill_row(len(images), "all", sums)
        self.adds.fit_rows()

    def _fill_row(self, row: int, title: str, values: Sequence[str]) -> None:
        self.adds.cell(row, 0, LEFT).setText(title)
        for column, value in enumerate(values, 1):
            self.adds.cell(row, column).setText(value)

    def _row_chosen(self) -> None:
        row, swept = self.table.currentRow(), self._state.swept
        if swept is not None and 0 <= row < len(swept.sweep.answers) and self.table.selectedItems():
            self.subset_chosen.emit(swept.sweep.answers[row].available)

    def _clicked(self) -> None:
        (self.cancel_clicked if self._state.sweeping else self.run_clicked).emit()

    def _save(self) -> None:
        case = self._state.case.name if self._state.case is not None else "case"
        name, _ = QFileDialog.getSaveFileName(self, "Save the table", f"{case}_subsets.csv", "Tables (*.csv)")
        if name:
            self.save_chosen.emit(Path(name))


def _table_of_subsets() -> ShownTable:
    titles = [each.title for each in Modality]
    tips = dict.fromkeys(titles, "Whether the network was given it") | dict.fromkeys(Region, "Of this region")
    table = ShownTable(0, [*titles, *Region], "Subsets", tips)
    table.setSelectionMode(ShownTable.SelectionMode.SingleSelection)
    table.setSelectionBehavior(ShownTable.SelectionBehavior.SelectRows)
    table.setToolTip(ROWS_TIP)
    rows = table.verticalHeader()
    assert rows is not None
    rows.setDefaultSectionSize(ROW_PIXELS)
    return table


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
        return state.sweep_stopped or ("" if state.sweeping else INTRODUCTION)
    lines = [note for note in swept.notes if note not in state.notes]
    if changed := what_changed(state):
        lines.append(f"Changed since then: {changed}. Compare again to see what that does.")
    if not state.sweeping:
        many = f"{len(swept.sweep.answers)} of {swept.sweep.total} subsets have answered."
        lines += [state.sweep_stopped, "" if swept.sweep.finished else many]
    return "\n".join(filter(None, lines))


def _combo(name: str, title: str) -> QComboBox:
    box = QComboBox()
    box.setObjectName(name)
    box.setAccessibleName(title)
    return box
