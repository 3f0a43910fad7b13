"""What an operator does to the board: mark somebody by hand, void a mark, rename a person.

Owns the questions and the requests. Must not know how the board is drawn. GUI thread only.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import msgspec
import structlog
from PySide6.QtCore import QObject, Signal
from PySide6.QtWidgets import QInputDialog, QWidget

from ipc import PayloadError, RequestError, SocketManager
from ui_proc.state import Mark
from ui_proc.wording import local_time

Ask = Callable[[str, str, str], str | None]
# The server may have done what it was asked for and died before it said so: asked again with the same id, it says so.
REPEATED = frozenset({"disconnected", "timeout"})
REPETITIONS = 5

log = structlog.get_logger()


class BoardActions(QObject):
    """Asks the operator, then the server.

    Signals:
        refused(str): why an action was not carried out, for the operator.
    """

    refused = Signal(str)

    def __init__(self, manager: SocketManager, ask: Ask, parent: QObject | None = None) -> None:
        """`ask(title, question, text so far)` returns what was entered, None when it was cancelled."""
        super().__init__(parent)
        self._manager, self._ask = manager, ask

    def mark_by_hand(self) -> None:
        """Mark somebody present, now."""
        person_id = self._ask("Mark by hand", "Who is present? (the person's id)", "")
        if person_id:
            self._request({"type": "mark", "personId": person_id, "id": _new_id()})

    def void(self, mark: Mark) -> None:
        """Have a mark not count any more, for a reason."""
        reason = self._ask("Void a mark", f"Why does the mark of {mark.person_id} not count?", "")
        if reason:
            self._request({"type": "void", "markId": mark.id, "reason": reason, "id": _new_id()})

    def rename(self, person_id: str, name: str) -> None:
        """Give a person another name than `name`."""
        new_name = self._ask("Rename a person", f"What is {person_id} called?", name)
        if new_name and new_name != name:
            self._request({"type": "rename", "personId": person_id, "name": new_name})

    def _request(self, payload: dict[str, Any], attempt: int = 1) -> None:
        try:
            self._manager.request(payload, partial(self._answered, payload, attempt))
        except PayloadError as error:
            self.refused.emit(str(error))

    def _answered(self, payload: dict[str, Any], attempt: int, reply: dict[str, Any] | RequestError) -> None:
        if not isinstance(reply, RequestError):
            log.info("action_done", action=payload["type"])
            if reply.get("duplicate") is True:
                self.refused.emit(_already_marked(reply))
        elif reply.code in REPEATED and attempt < REPETITIONS:
            self._request(payload, attempt + 1)
        else:
            log.warning("action_refused", action=payload["type"], code=reply.code)
            self.refused.emit(reply.message)


def ask_in_dialog(parent: QWidget, title: str, question: str, text: str) -> str | None:
    """Ask for one line of text in a dialog."""
    entered, is_accepted = QInputDialog.getText(parent, title, question, text=text)
    return entered.strip() if is_accepted else None


def _already_marked(reply: dict[str, Any]) -> str:
    """Say which mark of the person stands."""
    try:
        mark = msgspec.convert(reply.get("mark"), Mark)
    except msgspec.ValidationError:
        return "The person is already marked."
    at = local_time(mark.timestamp, datetime.now().astimezone().date())
    by = "" if mark.source is None else f" ({mark.source})"
    return f"{mark.person_id} is already marked at {at}{by}."


def _new_id() -> str:
    return str(uuid.uuid4())
