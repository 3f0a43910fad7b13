"""The board as a Qt table: time, person, source, delay.

Owns how a mark becomes cells. Must not know where marks come from. GUI thread only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, tzinfo
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from ui_proc import wording
from ui_proc.batched_model import FILTER_ROLE, FRESH_ROLE, ROOT, ROW_ROLE, VOID_ROLE, BatchedTableModel, Index
from ui_proc.state import Applied, BoardState, Change, Mark, Snapshot

TIME, PERSON, SOURCE, DELAY = range(4)
HEADERS = ("Time", "Person", "Source", "Delay")
NO_SOURCE = "\N{EN DASH}"
FRESH_MS = 4_000


class BoardModel(BatchedTableModel):
    """The table over a BoardState.

    Signals:
        published(object): inherited; the number of rows (int) that a batch brought.
        modelReset(): Qt's; a snapshot replaced every row.
        altered(): a void or a name; the rows are the same, what they show is not.
    """

    altered = Signal()

    def __init__(self, state: BoardState, zone: tzinfo | None = None, parent: QObject | None = None) -> None:
        super().__init__(state, HEADERS, parent)
        self.state = state
        self._zone = zone
        self._fresh_rows = 0  # so many rows at the top came with the newest batch
        self._fresh_timer = QTimer(self)
        self._fresh_timer.setSingleShot(True)
        self._fresh_timer.setInterval(FRESH_MS)
        self._fresh_timer.timeout.connect(self._settle)

    def apply(self, seq: int, change: Change) -> Applied:
        """Take in a change; a mark is shown with the next batch."""
        applied = self.state.apply(seq, change)
        self.schedule()
        if applied is Applied.CHANGED:
            self._repaint_rows(self.rowCount())
            self.altered.emit()
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
            name = self.state.name_of(mark.person_id)
            return mark.person_id if name is None else f"{name}  ({mark.person_id})"
        if column == SOURCE:
            return mark.source or NO_SOURCE
        return wording.received_delay(mark.timestamp, mark.received_at)

    def _tool_tip(self, mark: Mark, column: int) -> str:
        reason = self.state.void_reason(mark)
        void = "" if reason is None else f"\nVoided: {reason}"
        if column in (TIME, DELAY):
            return f"Marked {self._full_time(mark.timestamp)}\nReceived {self._full_time(mark.received_at)}{void}"
        return f"{self._text(mark, column)}{void}"

    def _full_time(self, moment: datetime) -> str:
        return moment.astimezone(self._zone).isoformat(sep=" ", timespec="milliseconds")

    def _row(self, mark: Mark, _column: int) -> Mark:
        return mark

    def _filter_text(self, mark: Mark, _column: int) -> str:
        return f"{self._text(mark, PERSON)}\n{mark.source or ''}"

    def _is_void(self, mark: Mark, _column: int) -> bool:
        return self.state.void_reason(mark) is not None

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
    int(VOID_ROLE): BoardModel._is_void,
}
