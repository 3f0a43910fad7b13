"""The Board tab: the day's figures, arrivals by hour, a filter, and the table of marks.

Owns the layout of the tab and what it says when there is nothing to show. Must not know sockets. GUI thread only.
"""

from __future__ import annotations

from datetime import datetime

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QMenu,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)

from ui_proc.arrivals_chart import ArrivalsChart
from ui_proc.batched_model import ROW_ROLE
from ui_proc.board_model import PERSON, SOURCE, BoardModel
from ui_proc.empty_state import EmptyState
from ui_proc.figure_card import FigureCard
from ui_proc.mark_delegate import ROW_HEIGHT_PX, MarkDelegate
from ui_proc.row_table import RowTable
from ui_proc.state import Mark
from ui_proc.theme import Theme

MARGIN_PX = 16
FIGURES_HEIGHT_PX = 108
SPACING_PX = 12
COLUMN_WIDTHS_PX = (170, 240, 200, 150)


class BoardView(QWidget):
    """The board over a BoardModel.

    Signals:
        mark_asked(): somebody is to be marked by hand.
        void_asked(object): this Mark is not to count.
        rename_asked(str, str): the person of this id has this name so far, and is to have another.

    The model's `published` and `modelReset` bring it up to date; `show_time` moves the chart's current hour.
    """

    mark_asked = Signal()
    void_asked = Signal(object)
    rename_asked = Signal(str, str)

    def __init__(self, model: BoardModel, theme: Theme, url: str) -> None:
        super().__init__()
        self.setObjectName("page")
        self._model, self._url, self._hour = model, url, -1
        self.today, self.people, self.total = (
            FigureCard("Marks today"),
            FigureCard("People today"),
            FigureCard("Marks in all"),
        )
        self.chart = ArrivalsChart(theme)
        self.peak = QLabel()
        self.peak.setProperty("role", "caption")
        self.filter = QLineEdit(placeholderText="Filter by person or source  (Ctrl+F)", clearButtonEnabled=True)
        self.filter.textChanged.connect(self._apply_filter)
        self.shown = QLabel()
        self.shown.setProperty("role", "caption")
        self.table = RowTable(model, ROW_HEIGHT_PX)
        self.table.setItemDelegate(MarkDelegate(theme, self.table))
        self.table.set_widths(COLUMN_WIDTHS_PX, PERSON, SOURCE)
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._open_menu)
        self.mark_button = QPushButton("Mark by hand\N{HORIZONTAL ELLIPSIS}")
        self.mark_button.clicked.connect(lambda: self.mark_asked.emit())
        self.empty = EmptyState()
        self._stack = QStackedLayout()
        self._lay_out()
        for signal in (model.published, model.modelReset, model.altered):
            signal.connect(self.refresh)
        theme.changed.connect(self.table.viewport().update)
        self.refresh()

    def show_time(self, now: datetime) -> None:
        """Move the current hour of the chart; `now` is local."""
        self._hour = now.hour
        self._refresh_chart()

    def focus_filter(self) -> None:
        """Put the keyboard into the filter."""
        self.filter.setFocus()
        self.filter.selectAll()

    def refresh(self) -> None:
        """Bring figures, chart and the empty state up to date with the model."""
        counts = self._model.state.counts
        is_known = self._model.state.is_loaded
        self.today.show_figure(counts.today if is_known else None)
        self.people.show_figure(counts.people if is_known else None)
        self.total.show_figure(counts.total if is_known else None)
        self._refresh_chart()
        self._refresh_rows()

    def menu_for(self, mark: Mark) -> QMenu:
        """Return what can be done with a mark."""
        menu = QMenu(self.table)
        void = menu.addAction("Void\N{HORIZONTAL ELLIPSIS}", lambda: self.void_asked.emit(mark))
        void.setEnabled(self._model.state.void_reason(mark) is None)
        name = self._model.state.name_of(mark.person_id) or ""
        menu.addAction("Rename person\N{HORIZONTAL ELLIPSIS}", lambda: self.rename_asked.emit(mark.person_id, name))
        return menu

    def _open_menu(self, position: QPoint) -> None:
        mark = self.table.indexAt(position).data(ROW_ROLE)
        if mark is not None:
            menu = self.menu_for(mark)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.table.viewport().mapToGlobal(position))

    def _refresh_chart(self) -> None:
        per_hour = self._model.state.per_hour
        self.chart.show_hours(per_hour, self._hour)
        most = max(per_hour)
        self.peak.setText(f"busiest at {per_hour.index(most):02d}:00 with {most:,}" if most else "")

    def _refresh_rows(self) -> None:
        rows, visible = self._model.rowCount(), self.table.proxy.rowCount()
        self.shown.setText(f"{visible:,} of {rows:,} rows" if visible != rows else f"{rows:,} rows")
        self._stack.setCurrentIndex(0 if visible else 1)
        if not visible:
            self._explain_emptiness(rows)

    def _explain_emptiness(self, rows: int) -> None:
        if rows:
            self.empty.explain(
                "No match",
                f"None of {rows:,} rows contains \N{LEFT DOUBLE QUOTATION MARK}"
                f"{self.filter.text().strip()}\N{RIGHT DOUBLE QUOTATION MARK}.",
            )
        elif not self._model.state.is_loaded:
            self.empty.explain("Waiting for the server", "The board fills itself as soon as the server answers.")
        else:
            endpoint = f"{self._url}/api/attendance"
            self.empty.explain("No marks yet", f"POST one to {endpoint}", example_command(endpoint))

    def _apply_filter(self, text: str) -> None:
        self.table.filter_by(text)
        self._refresh_rows()

    def _lay_out(self) -> None:
        figures = QHBoxLayout()
        figures.setSpacing(SPACING_PX)
        chart = self._chart_card()
        for card in (self.today, self.people, self.total, chart):
            card.setFixedHeight(FIGURES_HEIGHT_PX)
            figures.addWidget(card)
        figures.setStretchFactor(chart, 1)
        tools = QHBoxLayout()
        tools.setSpacing(SPACING_PX)
        tools.addWidget(self.filter, 1)
        tools.addWidget(self.shown)
        tools.addWidget(self.mark_button)
        rows = QFrame()
        rows.setProperty("role", "card")
        rows.setLayout(self._stack)
        self._stack.setContentsMargins(2, 2, 2, 2)
        self._stack.addWidget(self.table)
        self._stack.addWidget(self.empty)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(MARGIN_PX, MARGIN_PX, MARGIN_PX, MARGIN_PX)
        layout.setSpacing(SPACING_PX)
        layout.addLayout(figures)
        layout.addLayout(tools)
        layout.addWidget(rows, 1)

    def _chart_card(self) -> QFrame:
        card = QFrame()
        card.setProperty("role", "card")
        caption = QLabel("Arrivals by hour")
        caption.setProperty("role", "caption")
        layout = QVBoxLayout(card)
        layout.setContentsMargins(16, 12, 16, 8)
        layout.setSpacing(6)
        title = QHBoxLayout()
        title.addWidget(caption)
        title.addStretch(1)
        title.addWidget(self.peak)
        layout.addLayout(title)
        layout.addWidget(self.chart, 1)
        return card


def example_command(endpoint: str) -> str:
    """Return a command that posts one mark."""
    return f"""curl {endpoint} \\\n  -H 'Content-Type: application/json' \\\n  -d '{{"personId": "12345"}}'"""
