"""The board as a Qt table: time, person, source, delay.

Owns how a mark becomes cells. Must not know where marks come from. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, tzinfo
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer

from ui_proc import wording
from ui_proc.batched_model import FILTER_ROLE, FRESH_ROLE, ROOT, ROW_ROLE, BatchedTableModel, Index
from ui_proc.state import Applied, BoardState, Mark, Snapshot

TIME, PERSON, SOURCE, DELAY = range(4)
HEADERS = ("Time", "Person", "Source", "Delay")
NO_SOURCE = "\N{EN DASH}"
FRESH_MS = 4_000


class BoardModel(BatchedTableModel):
    """The table over a BoardState.

    Signals:
        published(object): inherited; the number of rows (int) that a batch brought.
        modelReset(): Qt's; a snapshot replaced every row.
    """

    def __init__(self, state: BoardState, zone: tzinfo | None = None, parent: QObject | None = None) -> None:
        super().__init__(state, HEADERS, parent)
        self.state = state
        self._zone = zone
        self._fresh_rows = 0  # so many rows at the top came with the newest batch
        self._fresh_timer = QTimer(self)
        self._fresh_timer.setSingleShot(True)
        self._fresh_timer.setInterval(FRESH_MS)
        self._fresh_timer.timeout.connect(self._settle)

    def apply(self, seq: int, mark: Mark) -> Applied:
        """Take in a mark; it is shown with the next batch."""
        applied = self.state.apply(seq, mark)
        self.schedule()
        return applied

    def publish(self) -> None:
        self._fresh_rows = self.state.rows.pending
        super().publish()
        if self._fresh_rows:
            self._fresh_timer.start()

    def load(self, snapshot: Snapshot) -> bool:
        """Show the snapshot; False when messages were lost meanwhile and another one is needed."""
        self.beginResetModel()
        is_complete = self.state.load(snapshot)
        self._fresh_rows = 0
        self.endResetModel()
        return is_complete

    def roll(self, today: date) -> bool:
        """Start a new day if it is one: the times of yesterday's rows now show their day."""
        if not self.state.roll(today):
            return False
        self._repaint_rows(self.rowCount())
        return True

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        if role == FRESH_ROLE:
            return index.row() < self._fresh_rows
        cell = _ROLES.get(role)
        return cell(self, self.state.rows[index.row()], index.column()) if cell else None

    def _text(self, mark: Mark, column: int) -> str:
        if column == TIME:
            return wording.local_time(mark.timestamp, self.state.day, self._zone)
        if column == PERSON:
            return mark.person_id
        if column == SOURCE:
            return mark.source or NO_SOURCE
        return wording.received_delay(mark.timestamp, mark.received_at)

    def _tool_tip(self, mark: Mark, column: int) -> str:
        if column in (TIME, DELAY):
            return f"Marked {self._full_time(mark.timestamp)}\nReceived {self._full_time(mark.received_at)}"
        return self._text(mark, column)

    def _full_time(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).isoformat(sep=" ", timespec="milliseconds")

    def _row(self, mark: Mark, _column: int) -> Mark:
        return mark

    def _filter_text(self, mark: Mark, _column: int) -> str:
        return f"{mark.person_id}\n{mark.source or ''}"

    def _settle(self) -> None:
        count, self._fresh_rows = self._fresh_rows, 0
        self._repaint_rows(min(count, self.rowCount()))

    def _repaint_rows(self, count: int) -> None:
        if count:
            self.dataChanged.emit(self.index(0, 0), self.index(count - 1, self.columnCount(ROOT) - 1))


_ROLES: dict[int, Callable[[BoardModel, Mark, int], Any]] = {
    int(Qt.ItemDataRole.DisplayRole): BoardModel._text,
    int(Qt.ItemDataRole.ToolTipRole): BoardModel._tool_tip,
    int(ROW_ROLE): BoardModel._row,
    int(FILTER_ROLE): BoardModel._filter_text,
}
