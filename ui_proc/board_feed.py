"""Keeps the board in step with the server: a snapshot when the past is unknown, then every message after it.

Owns when a snapshot is asked for. Must not know widgets. GUI thread only: SocketManager delivers there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog
from PySide6.QtCore import QObject, QTimer, Signal

from ipc import ClientState, Message, RequestError, SocketManager
from ui_proc.board_model import BoardModel
from ui_proc.state import Mark, MessageError, Snapshot, read_change, read_page, read_snapshot

RETRY_MS, RETRY_MAX_MS = 500, 10_000

log = structlog.get_logger()


class BoardFeed(QObject):
    """Follows one SocketManager into one BoardModel.

    Signals:
        loaded(): a snapshot is on the board.
    """

    loaded = Signal()

    def __init__(self, manager: SocketManager, model: BoardModel, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._manager, self._model = manager, model
        self._kind = ""
        self._asked = 0  # replies to any but the newest request are of the past
        self._retry_timer = QTimer(self)
        self._retry_timer.setSingleShot(True)
        self._retry_timer.setInterval(RETRY_MS)
        self._retry_timer.timeout.connect(self._ask)
        manager.delivered.connect(self._take)
        manager.gap_received.connect(self._bridge)
        manager.state_changed.connect(self._follow)

    def _follow(self, state: ClientState) -> None:
        # After a silence the same connection goes on: nothing was lost.
        is_new = self._kind != "stale"
        self._kind = state.kind
        if state.kind == "live" and is_new and (self._model.state.is_syncing or not state.resumed):
            self._ask()

    def _bridge(self, gap: tuple[int, int]) -> None:
        log.warning("gap_met", from_seq=gap[0], to_seq=gap[1])
        self._ask()

    def _take(self, message: Message) -> None:
        try:
            change = read_change(message.payload)
        except MessageError as error:
            log.warning("mark_ignored", seq=message.seq, reason=str(error))
            return
        if change is not None:
            if isinstance(change, Mark):
                log.debug("mark_received", seq=message.seq, request_id=message.payload.get("requestId"))
            self._model.apply(message.seq, change)

    def _ask(self) -> None:
        self._retry_timer.stop()
        self._model.state.begin_sync()
        self._asked += 1
        request = {"type": "snapshot", "limit": self._model.state.rows.max_rows}
        self._manager.request(request, partial(self._answered, self._asked))

    def _answered(self, number: int, reply: dict[str, Any] | RequestError) -> None:
        if number != self._asked:
            return
        if isinstance(reply, RequestError):
            self._refused(reply)
            return
        try:
            self._complete(number, read_snapshot(reply))
        except MessageError as error:
            self._try_later("bad_snapshot", str(error))

    def _complete(self, number: int, snapshot: Snapshot) -> None:
        """Ask for the next page that the snapshot lacks; show it once it lacks none."""
        lacking = self._model.state.rows.max_rows - len(snapshot.marks)
        if snapshot.next_before_seq is not None and lacking > 0:
            page = {"type": "marks", "beforeSeq": snapshot.next_before_seq, "limit": lacking}
        elif snapshot.next_after_person is not None:
            page = {"type": "people", "afterPerson": snapshot.next_after_person}
        else:
            self._load(snapshot)
            return
        self._manager.request(page, partial(self._continued, number, snapshot))

    def _continued(self, number: int, snapshot: Snapshot, reply: dict[str, Any] | RequestError) -> None:
        if number != self._asked:
            return
        if isinstance(reply, RequestError):
            self._refused(reply)
            return
        try:
            self._complete(number, snapshot.with_page(read_page(reply)))
        except MessageError as error:
            self._try_later("bad_snapshot", str(error))

    def _load(self, snapshot: Snapshot) -> None:
        if not self._model.load(snapshot):
            self._ask()
            return
        self._retry_timer.setInterval(RETRY_MS)
        log.info("snapshot_loaded", rows=self._model.rowCount(), seq=snapshot.seq, total=snapshot.total)
        self.loaded.emit()

    def _refused(self, error: RequestError) -> None:
        if self._manager.state.kind == "live":
            self._try_later(error.code, error.message)
        # else: the next `live` asks again

    def _try_later(self, code: str, reason: str) -> None:
        delay_ms = self._retry_timer.interval()
        log.warning("snapshot_failed", code=code, reason=reason, retry_in_s=delay_ms / 1000)
        self._retry_timer.start()
        self._retry_timer.setInterval(min(delay_ms * 2, RETRY_MAX_MS))
