"""The Processes tab: the launcher's view of its children.

Owns one card per child. Must not know the control plane's socket. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QScrollArea, QStackedLayout, QWidget

from ui_proc.empty_state import EmptyState
from ui_proc.launcher_report import Child, Sample, with_sample
from ui_proc.process_card import ProcessCard
from ui_proc.theme import Theme

MARGIN_PX = 16
SPACING_PX = 12
COLUMNS = 2


class ProcessesView(QWidget):
    """One ProcessCard per child; no signals of its own."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.setObjectName("page")
        self._theme = theme
        self._children: tuple[Child, ...] = ()
        self._age_s = 0.0
        self.cards: list[ProcessCard] = []
        self.empty = EmptyState()
        self._grid = QGridLayout()
        self._grid.setContentsMargins(MARGIN_PX, MARGIN_PX, MARGIN_PX, MARGIN_PX)
        self._grid.setSpacing(SPACING_PX)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._scrolled())
        self._stack.addWidget(self.empty)
        self.show_silence("The launcher has not reported yet.")

    def show_silence(self, reason: str) -> None:
        """Say why nothing is known of the processes."""
        self.empty.explain("No report from the launcher", reason)
        self._stack.setCurrentIndex(1)

    def show_children(self, children: tuple[Child, ...], age_s: float = 0.0) -> None:
        """Show a report that is `age_s` old."""
        self._children, self._age_s = children, age_s
        while len(self.cards) < len(children):
            self._add_card()
        for card in self.cards[len(children) :]:
            card.hide()
        for card, child in zip(self.cards, children, strict=False):
            card.show_child(child, age_s)
            card.show()
        self._stack.setCurrentIndex(0)

    def show_sample(self, sample: Sample) -> None:
        """Show what a child costs."""
        self._children = with_sample(self._children, sample)
        self.show_age(self._age_s)

    def show_age(self, age_s: float) -> None:
        """Let the uptimes grow between two reports."""
        self._age_s = age_s
        if self._stack.currentIndex() == 0 and self.isVisible():
            for card, child in zip(self.cards, self._children, strict=False):
                card.show_child(child, age_s)

    def _add_card(self) -> None:
        card = ProcessCard(self._theme)
        row, column = divmod(len(self.cards), COLUMNS)
        self._grid.addWidget(card, row, column, Qt.AlignmentFlag.AlignTop)
        self.cards.append(card)

    def _scrolled(self) -> QScrollArea:
        content = QWidget()
        self._grid.setColumnStretch(0, 1)
        self._grid.setColumnStretch(1, 1)
        self._grid.setRowStretch(99, 1)
        content.setLayout(self._grid)
        area = QScrollArea(widgetResizable=True)
        area.setWidget(content)
        return area
