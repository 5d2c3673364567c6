"""How a panel's views are stacked: titled sections in a column that scrolls, pages behind tabs, docks behind docks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from qtpy.QtCore import QObject, QSize, Qt
from qtpy.QtWidgets import QDockWidget, QFrame, QLabel, QScrollArea, QSizePolicy, QTabWidget, QVBoxLayout, QWidget


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
    scroll = _Column()
    scroll.setWidget(inside)
    scroll.setWidgetResizable(True)
    scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    scroll.setFrameShape(QFrame.Shape.NoFrame)
    outer = QVBoxLayout(panel)
    outer.setContentsMargins(0, 0, 0, 0)
    outer.addWidget(scroll)


def bring_forward(panel: QWidget) -> None:
    """Show the dock around a panel, where somebody has hidden it or put another one in front."""
    around: QObject | None = panel
    while around is not None and not isinstance(around, QDockWidget):
        around = around.parent()
    if around is not None:
        around.show()
        around.raise_()


def stacked(*views: QWidget) -> QWidget:
    """One below the other, with what room is left below them."""
    page = QWidget()
    column = QVBoxLayout(page)
    for view in views:
        column.addWidget(view)
    column.addStretch(1)
    return page


class Tabs(QTabWidget):
    """Each page behind its title; as high as the page in front, where Qt would take the highest of all.

    Parameters
    ----------
    pages
        By title.
    """

    def __init__(self, pages: Mapping[str, QWidget]) -> None:
        super().__init__()
        self.setObjectName("tabs")
        for title, page in pages.items():
            self.addTab(page, title)
        self.currentChanged.connect(self._fit)
        self._fit(self.currentIndex())

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """With the height of the page in front in the place of the highest one's."""
        hint = super().sizeHint()
        pages = [self.widget(place) for place in range(self.count())]
        heights = [page.sizeHint().expandedTo(page.minimumSizeHint()).height() for page in pages if page is not None]
        return QSize(hint.width(), hint.height() - max(heights) + heights[self.currentIndex()])

    def _fit(self, front: int) -> None:
        for place in range(self.count()):
            page = self.widget(place)
            assert page is not None
            policy = page.sizePolicy()
            policy.setVerticalPolicy(QSizePolicy.Policy.Preferred if place == front else QSizePolicy.Policy.Ignored)
            page.setSizePolicy(policy)
        self.updateGeometry()


class _Column(QScrollArea):
    """As wide as what is in it needs at least; Qt would let it be narrower, and cut off what cannot be scrolled to."""

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        """Room for the widget and its scroll bar."""
        hint, inside, bar = super().minimumSizeHint(), self.widget(), self.verticalScrollBar()
        if inside is None or bar is None:
            return hint
        return QSize(inside.minimumSizeHint().width() + bar.sizeHint().width(), hint.height())


def _titled(title: str) -> QLabel:
    label = QLabel(title)
    label.setStyleSheet("font-weight: bold; margin-top: 4px")
    return label
