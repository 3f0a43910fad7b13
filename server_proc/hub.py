"""The hub: the ipc server as the rest of this package sees it. Any thread.

A mark that is committed is recorded, whatever becomes of its announcement: the outbox has it, and whoever missed it
reads it there. So announcing never fails.
"""

from __future__ import annotations

import structlog

from ipc import SocketServer
from server_proc.fault_points import reach

log = structlog.get_logger()


class Hub:
    """Announces what the outbox holds to every connected client."""

    def __init__(self, server: SocketServer) -> None:
        self._server = server
        self._is_serving = False

    @property
    def is_serving(self) -> bool:
        """True while clients are accepted."""
        return self._is_serving

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._server.peers)

    def start(self) -> None:
        self._server.start()
        self._is_serving = True

    def stop(self) -> None:
        self._is_serving = False
        self._server.stop()

    def announce(self) -> None:
        """Deliver what the outbox holds past each client's cursor."""
        try:
            self._server.flush()
        except Exception:
            log.exception("announcement_failed")
        else:
            reach("after_announce")
