"""The traffic as a Qt table: time, type with its direction, content, delivery.

Owns how an entry becomes cells, and the pause. Must not know sockets. GUI thread only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal

from ui_proc.batched_model import FILTER_ROLE, ROW_ROLE, BatchedTableModel, Index
from ui_proc.traffic_state import Delivery, Entry, TrafficState

TIME, TYPE, CONTENT, DELIVERY = range(4)
HEADERS = ("Time", "Type", "Content", "Delivery")
ARROWS = {True: "\N{UPWARDS ARROW}", False: "\N{DOWNWARDS ARROW}"}


class MessagesModel(BatchedTableModel):
    """The table over a TrafficState.

    Signals:
        published(object): inherited; the number of rows (int) that a batch brought.
        waiting_changed(object): the number of messages (int) that a pause holds back.
    """

    waiting_changed = Signal(object)

    def __init__(self, state: TrafficState, parent: QObject | None = None) -> None:
        super().__init__(state, HEADERS, parent)
        self.state = state

    def received(self, at: datetime, payload: dict[str, Any], seq: int | None) -> None:
        """Add a message from the server."""
        self.state.received(at, payload, seq)
        self.schedule()

    def sent(self, at: datetime, payload: dict[str, Any], delivery: Delivery) -> None:
        """Add a message of our own."""
        self.state.sent(at, payload, delivery)
        self.schedule()

    def set_paused(self, is_paused: bool) -> None:
        """Hold the list still, or show what came meanwhile."""
        self.state.is_paused = is_paused
        if not is_paused:
            self.publish()

    def publish(self) -> None:
        if self.state.is_paused:
            self._batch_timer.stop()
            self.waiting_changed.emit(self.state.rows.pending + self.state.missed)
            return
        super().publish()

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        entry = self.state.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return _text(entry, index.column())
        if role == ROW_ROLE:
            return entry
        if role == FILTER_ROLE:
            return f"{entry.kind}\n{entry.body.decode(errors='replace')}"
        return None


def _text(entry: Entry, column: int) -> str:
    if column == TIME:
        return entry.at.strftime("%H:%M:%S.") + f"{entry.at.microsecond // 1000:03d}"
    if column == TYPE:
        return f"{ARROWS[entry.is_outgoing]} {entry.kind or '?'}"
    if column == CONTENT:
        return entry.summary
    return entry.delivery.value if entry.is_outgoing else f"seq {entry.seq}" if entry.seq else ""
