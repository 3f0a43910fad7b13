"""A Qt table model over rows that come in batches.

Owns the batching: one insert per BATCH_MS, however many messages arrive. (One insert per message shows 82 rows/s,
batches show some 4,000.) Must not know what the rows are. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
    QTimer,
    Signal,
)

BATCH_MS = 60
Index = QModelIndex | QPersistentModelIndex
ROOT = QModelIndex()

ROW_ROLE = Qt.ItemDataRole.UserRole  # the row object itself, for delegates and the detail pane
FILTER_ROLE = Qt.ItemDataRole.UserRole + 1  # everything a filter looks at, in one text
FRESH_ROLE = Qt.ItemDataRole.UserRole + 2  # the row came with the newest batch

VOID_ROLE = Qt.ItemDataRole.UserRole + 3  # the row does not count any more


class Rows(Protocol):
    """What the model needs to know of the rows that its source holds."""

    def __len__(self) -> int: ...
    @property
    def pending(self) -> int: ...
    @property
    def overflow(self) -> int: ...


class Source(Protocol):
    """A state that puts its pending rows on show when told."""

    @property
    def rows(self) -> Rows: ...
    def drop_oldest(self) -> None: ...
    def publish(self) -> int: ...


class BatchedTableModel(QAbstractTableModel):
    """Newest row first; subclasses say what a cell shows.

    Signals:
        published(object): a batch was put on show; the number of rows (int) that came in.
    """

    published = Signal(object)

    def __init__(self, source: Source, headers: Sequence[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._source = source
        self._headers = tuple(headers)
        self._batch_timer = QTimer(self)
        self._batch_timer.setSingleShot(True)
        self._batch_timer.setInterval(BATCH_MS)
        self._batch_timer.timeout.connect(self.publish)

    def schedule(self) -> None:
        """Show what is pending at the end of the current batch; the first pending row starts the timer."""
        if self._source.rows.pending and not self._batch_timer.isActive():
            self._batch_timer.start()

    def publish(self) -> None:
        """Show the pending rows now."""
        self._batch_timer.stop()
        pending = self._source.rows.pending
        if not pending:
            return
        overflow = self._source.rows.overflow
        if overflow:
            count = len(self._source.rows)
            self.beginRemoveRows(ROOT, count - overflow, count - 1)
            self._source.drop_oldest()
            self.endRemoveRows()
        self.beginInsertRows(ROOT, 0, pending - 1)
        self._source.publish()
        self.endInsertRows()
        self.published.emit(pending)

    def rowCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self._source.rows)

    def columnCount(self, parent: Index = ROOT) -> int:
        return 0 if parent.isValid() else len(self._headers)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation is not Qt.Orientation.Horizontal or not 0 <= section < len(self._headers):
            return None
        if role == Qt.ItemDataRole.DisplayRole:
            return self._headers[section]
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        return None
