"""How a panel's views are stacked: titled sections in a column that scrolls, and pages behind tabs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QLabel, QScrollArea, QTabWidget, QVBoxLayout, QWidget


def fill_with_column(panel: QWidget, sections: Iterable[tuple[str, QWidget]]) -> None:
    """Put title and view of each section below one another; a low window scrolls. An empty title is left out."""
    inside = QWidget()
    column = QVBoxLayout(inside)
    column.setContentsMargins(6, 6, 6, 6)
    for title, view in sections:
        if title:
            column.addWidget(_titled(title))
        column.addWidget(view)
    column.addStretch(1)
    scroll = QScrollArea()
    scroll.setWidget(inside)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    outer = QVBoxLayout(panel)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll)


def stacked(*views: QWidget) -> QWidget:
    """One below the other, with what room is left below them."""
    page = QWidget()
    column = QVBoxLayout(page)
    for view in views:
        column.addWidget(view)
    column.addStretch(1)
    return page


def tabbed(pages: Mapping[str, QWidget]) -> QTabWidget:
    """Each page behind its title."""
    tabs = QTabWidget()
    tabs.setObjectName("tabs")
    for title, page in pages.items():
        tabs.addTab(page, title)
    return tabs


def _titled(title: str) -> QLabel:
    label = QLabel(title)
    label.setStyleSheet("font-weight: bold; margin-top: 4px")
    return label
