"""The region table: volumes, trust, what changed against a pinned result, and agreement with the reference."""

from __future__ import annotations

from qtpy.QtCore import Signal, SignalInstance
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_shaspec.io.overlay import COLOURS
from napari_shaspec.modalities import subset_name
from napari_shaspec.plugin.palette import CHANGE_COLOURS, GAINED, LOST, REGION_COLOURS, REGION_NAMES
from napari_shaspec.plugin.state import PluginState
from napari_shaspec.regions import Label, Region
from napari_shaspec.widgets.tables import LEFT, ShownTable

COLUMNS = ("Region", "ml", "diff", "gained", "lost", "Dice", "HD95", "Trust")
TIPS = {
    "ml": "Volume of the labels as they are in the layer, edits included",
    "diff": "Volume minus that of the pinned result, in ml",
    "gained": "Volume that belongs to the region now and did not in the pinned result, in ml",
    "lost": "Volume that belonged to the region in the pinned result and does not now, in ml",
    "Dice": "Overlap with the reference layer, 0 to 1",
    "HD95": "95th percentile of the surface distances to the reference layer, in mm",
    "Trust": "What these weights reach with these modalities, on cases whose truth is known",
}
TRUST = COLUMNS.index("Trust")
CHANGES = ", ".join(
    f'<span style="color: rgb{CHANGE_COLOURS[change]}">■</span>&nbsp;{word}'
    for change, word in ((GAINED, "gained"), (LOST, "lost"))
)
"""Squares beside words: words of these colours could not be read in a light theme."""

SHORT = {Label.NCR_NET: "NCR/NET", Label.ED: "ED", Label.ET: "ET"}


class RegionsPanel(QWidget):
    """Table, legend, what is under the cursor, and the pin.

    Parameters
    ----------
    state
        What is shown; never written here.
    """

    pin_clicked = Signal()
    unpin_clicked = Signal()
    change_region_chosen = Signal(object)

    def __init__(self, state: PluginState) -> None:
        super().__init__()
        self._state = state
        self._moved: dict[Region, tuple[float, float]] = {}
        self.table = ShownTable(len(Region), COLUMNS, "Regions", TIPS)
        self.table.setSelectionMode(ShownTable.SelectionMode.ContiguousSelection)
        for row, region in enumerate(Region):
            self.table.cell(row, 0, LEFT).setIcon(_icon(REGION_COLOURS[region]))
        for column in (0, TRUST):  # words, which must not be cut off
            self.table.header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.trust_line = QLabel()
        self.trust_line.setObjectName("trust")
        self.trust_line.setWordWrap(True)
        self.cursor_line = QLabel()
        self.cursor_line.setObjectName("at_cursor")
        self.set_cursor("-")
        self.pin = _button("pin", "Pin", self.pin_clicked)
        self.unpin = _button("unpin", "Unpin", self.unpin_clicked)
        self.change_region = QComboBox()
        self.change_region.setObjectName("change_region")
        self.change_region.setAccessibleName("Change of")
        self.change_region.addItems([region.value for region in Region])
        self.change_region.setCurrentText(Region.WT.value)
        self.change_region.setToolTip("The region whose gained and lost voxels the Change layer shows")
        self.change_region.textActivated.connect(lambda name: self.change_region_chosen.emit(Region(name)))
        self.pinned_line = QLabel()
        self.pinned_line.setObjectName("pinned")
        self.pinned_line.setWordWrap(True)
        self._lay_out()
        shown = ("volumes_ml", "agreement", "confidence", "pinned", "case", "result")
        self._listening = state.listen(**dict.fromkeys(shown, self.refresh))
        self.refresh()

    def _lay_out(self) -> None:
        compare = QHBoxLayout()
        for widget in (self.pin, self.unpin, QLabel("Change of"), self.change_region):
            compare.addWidget(widget)
        compare.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.table)
        layout.addWidget(_legend({SHORT[label]: COLOURS[label] for label in SHORT}))
        layout.addWidget(self.trust_line)
        layout.addWidget(self.cursor_line)
        layout.addLayout(compare)
        layout.addWidget(self.pinned_line)

    def set_moved(self, moved: dict[Region, tuple[float, float]]) -> None:
        """Gained and lost volume of each region against the pinned result, in ml."""
        self._moved = moved
        self.refresh()

    def set_cursor(self, text: str) -> None:
        """What lies under the cursor."""
        self.cursor_line.setText(f"At the cursor: {text}")

    def refresh(self, *_: object) -> None:
        """Show the state as it is now."""
        state = self._state
        for row, region in enumerate(Region):
            volume = state.volumes_ml.get(region)
            before = state.pinned.volumes_ml.get(region) if state.pinned is not None else None
            agreement = state.agreement.get(region)
            moved = self._moved.get(region) if state.pinned is not None else None
            trust = state.confidence.get(region)
            hd95 = None if agreement is None else agreement.hd95_mm
            self._set(row, 0, region.value, f"{region.value}: {REGION_NAMES[region]}")
            self._set(row, 1, "" if volume is None else f"{volume:.1f}")
            self._set(row, 2, "" if volume is None or before is None else f"{volume - before:+.1f}")
            self._set(row, 3, "" if moved is None else f"{moved[0]:.1f}")
            self._set(row, 4, "" if moved is None else f"{moved[1]:.1f}")
            self._set(row, 5, "" if agreement is None else f"{agreement.dice:.2f}")
            self._set(row, 6, ("..." if agreement is not None else "") if hd95 is None else f"{hd95:.1f}")
            verdict, tip = ("", "") if trust is None else (trust.verdict.value, trust.explained)
            self._set(row, TRUST, verdict, tip)
        self.trust_line.setText("\n".join(trust.line for trust in state.confidence.values()))
        self.trust_line.setToolTip("\n".join(trust.explained for trust in state.confidence.values()))
        self.trust_line.setVisible(bool(state.confidence))
        for column in (2, 3, 4):
            self.table.setColumnHidden(column, state.pinned is None)
        for column in (5, 6):
            self.table.setColumnHidden(column, state.case is None or state.case.truth is None)
        self.table.fit_rows()
        finished = bool(state.volumes_ml) and state.result is not None
        self.pin.setEnabled(finished)
        self.pin.setToolTip(
            "Keep the present labels to compare the next ones with"
            if finished
            else "There are no finished labels to keep: predict first"
        )
        self.unpin.setEnabled(state.pinned is not None)
        self.unpin.setToolTip("Stop comparing" if state.pinned is not None else "Nothing is pinned")
        pinned = state.pinned
        compared = "" if pinned is None else f"Against the pinned {subset_name(pinned.available)}: {CHANGES}"
        self.pinned_line.setText(compared)
        self.pinned_line.setVisible(pinned is not None)

    def close_panel(self) -> None:
        """Stop listening."""
        self._state.forget(self._listening)

    def _set(self, row: int, column: int, text: str, tip: str = "") -> None:
        item = self.table.cell(row, column)
        item.setText(text)
        item.setToolTip(tip)


def _button(name: str, text: str, clicked: SignalInstance) -> QPushButton:
    button = QPushButton(text)
    button.setObjectName(name)
    button.clicked.connect(clicked)
    return button


def _legend(entries: dict[str, tuple[int, int, int]]) -> QWidget:
    legend = QWidget()
    layout = QHBoxLayout(legend)
    layout.setContentsMargins(0, 0, 0, 0)
    for name, colour in entries.items():
        square = QLabel()
        square.setPixmap(_icon(colour).pixmap(12, 12))
        layout.addWidget(square)
        layout.addWidget(QLabel(name))
    layout.addStretch(1)
    return legend


def _icon(colour: tuple[int, int, int]) -> QIcon:
    pixmap = QPixmap(12, 12)
    pixmap.fill(QColor(*colour))
    return QIcon(pixmap)
