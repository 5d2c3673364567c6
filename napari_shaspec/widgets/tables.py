"""Tables that show and are not written into, as high as their rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTableWidget, QTableWidgetItem

NARROWEST_PIXELS = 30
LEFT, CENTRE, RIGHT = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight


class ShownTable(QTableWidget):
    """Columns share the width; nothing scrolls and nothing is edited.

    Parameters
    ----------
    rows
        How many.
    columns
        Their titles.
    name
        For screen readers, and in lower case for style sheets.
    tips
        What the columns mean, by title.
    """

    def __init__(self, rows: int, columns: Sequence[str], name: str, tips: Mapping[str, str]) -> None:
        super().__init__(rows, len(columns))
        self.setObjectName(name.lower())
        self.setAccessibleName(name)
        side, header = self.verticalHeader(), self.horizontalHeader()
        assert side is not None
        assert header is not None
        self.header = header
        side.hide()
        self.setTabKeyNavigation(False)  # Tab leaves it, for what comes next in the panel
        self.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setMinimumSectionSize(NARROWEST_PIXELS)
        for column, title in enumerate(columns):
            head = QTableWidgetItem(title)
            head.setToolTip(tips.get(title, ""))
            self.setHorizontalHeaderItem(column, head)

    def cell(self, row: int, column: int, side: Qt.AlignmentFlag = RIGHT) -> QTableWidgetItem:
        """Its item, made when it is first asked for; numbers stand on the right."""
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            item.setTextAlignment(Qt.AlignmentFlag.AlignVCenter | side)
            self.setItem(row, column, item)
        return item

    def fit_rows(self) -> None:
        """As high as the rows that are shown."""
        rows = sum(self.rowHeight(row) for row in range(self.rowCount()))
        self.setFixedHeight(self.header.sizeHint().height() + rows + 4)
