"""The ui's line to the launcher's control plane: asks for the children once per connection, then listens.

Owns the reading of reports. Must not know widgets. GUI thread only: SocketManager delivers there.
"""

from __future__ import annotations

from typing import Any

import structlog
from PySide6.QtCore import QObject, Signal

from ipc import ClientState, RequestError, SocketManager
from ui_proc.launcher_report import read_children, read_sample

CHILDREN_TYPE = "children"
SAMPLE_TYPE = "process_sampled"

log = structlog.get_logger()


class LauncherLink(QObject):
    """Follows the control plane.

    Signals:
        reported(object): the children (tuple of Child) as they are now.
        sampled(object): what one of them costs (Sample), every few seconds.
        silenced(object): why nothing is known (str).
    """

    reported = Signal(object)
    sampled = Signal(object)
    silenced = Signal(object)

    def __init__(self, manager: SocketManager, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._manager = manager
        manager.message_received.connect(self._take)
        manager.state_changed.connect(self._follow)

    def _follow(self, state: ClientState) -> None:
        if state.kind == "live":
            self._manager.request({"type": "status"}, self._answered)
        elif state.kind in ("waiting", "unauthorized", "incompatible"):
            self.silenced.emit(f"The control connection is {state.kind}. {state.reason}".strip())

    def _take(self, payload: dict[str, Any]) -> None:
        if payload.get("type") == CHILDREN_TYPE:
            self._report(payload)
        elif payload.get("type") == SAMPLE_TYPE:
            self._sample(payload)

    def _answered(self, reply: dict[str, Any] | RequestError) -> None:
        if isinstance(reply, RequestError):
            log.warning("launcher_status_failed", code=reply.code, reason=reply.message)
            return
        self._report(reply)

    def _report(self, payload: dict[str, Any]) -> None:
        try:
            children = read_children(payload)
        except ValueError as error:
            log.warning("launcher_status_ignored", reason=str(error))
            return
        self.reported.emit(children)

    def _sample(self, payload: dict[str, Any]) -> None:
        try:
            sample = read_sample(payload)
        except ValueError as error:
            log.warning("launcher_sample_ignored", reason=str(error))
            return
        self.sampled.emit(sample)
