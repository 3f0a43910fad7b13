"""A table of fixed-height rows, newest on top, with a filter, that holds still while somebody reads further down.

Owns the table's behaviour. Must not know what the rows are. GUI thread only.
"""

from __future__ import annotations

from PySide6.QtCore import QModelIndex, QSortFilterProxyModel, Qt
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from ui_proc.batched_model import FILTER_ROLE, BatchedTableModel


class RowTable(QTableView):
    """Shows a BatchedTableModel through a text filter; no signals of its own."""

    def __init__(self, source: BatchedTableModel, row_height_px: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._row_height_px = row_height_px
        self.proxy = QSortFilterProxyModel(self)
        self.proxy.setFilterRole(FILTER_ROLE)
        self.proxy.setFilterKeyColumn(0)
        self.proxy.setFilterCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        self.proxy.setSourceModel(source)
        self.setModel(self.proxy)
        self._set_manners()
        self.proxy.rowsInserted.connect(self._keep_place)

    def filter_by(self, text: str) -> None:
        """Show the rows that contain the text, in whatever case."""
        self.proxy.setFilterFixedString(text.strip())

    def set_widths(self, widths_px: tuple[int, ...], *stretched: int) -> None:
        """Give each column its width; the stretched ones share what is left."""
        header = self.horizontalHeader()
        for column, width_px in enumerate(widths_px):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Interactive)
            self.setColumnWidth(column, width_px)
        for column in stretched:
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Stretch)

    def _set_manners(self) -> None:
        vertical, horizontal = self.verticalHeader(), self.horizontalHeader()
        vertical.hide()
        # Fixed heights spare Qt the measuring of 10,000 rows on each insert.
        vertical.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        vertical.setMinimumSectionSize(self._row_height_px)
        vertical.setDefaultSectionSize(self._row_height_px)
        horizontal.setHighlightSections(False)
        horizontal.setSectionsClickable(False)
        horizontal.setMinimumSectionSize(28)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def _keep_place(self, _parent: QModelIndex, first: int, last: int) -> None:
        bar = self.verticalScrollBar()
        if bar.value() > 0 and first == 0:
            self.updateGeometries()  # the bar's range must grow before its value can
            bar.setValue(bar.value() + (last - first + 1) * self._row_height_px)
