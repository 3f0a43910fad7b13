"""Upkeep of the database: it is still where it was, old messages leave the outbox, its write-ahead log stays bounded.

Owns one thread, woken by the clock and by `stop`. Marks are never its business: they stay for ever.
"""

from __future__ import annotations

import threading

import structlog

from server_proc.database import Database
from server_proc.database_errors import DatabaseError
from server_proc.outbox import OutboxLog

INTERVAL_S = 5.0
# SQLite copies its log into the file every 1,000 pages (4 MB), but starts the log anew only when it finds no reader.
MAX_LOG_BYTES = 32 << 20

log = structlog.get_logger()


class Upkeep:
    """Looks after a database every INTERVAL_S."""

    def __init__(self, database: Database, outbox: OutboxLog) -> None:
        self._database = database
        self._outbox = outbox
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="database-upkeep", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it is in the middle of one short write at most."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(INTERVAL_S)

    def once(self) -> None:
        """Do what is due. Raises DatabaseError."""
        self._database.check_in_place()
        dropped = 0
        while not self._stop.is_set() and (slice_ := self._outbox.drop_old()):
            dropped += slice_
        if dropped:
            log.info("outbox_trimmed", dropped=dropped, oldest=self._outbox.oldest, newest=self._outbox.newest)
        if self._database.log_bytes() > MAX_LOG_BYTES and not self._database.empty_log():
            log.warning("database_log_kept", log_bytes=self._database.log_bytes(), reason="a reader does not end")

    def _run(self) -> None:
        while not self._stop.wait(INTERVAL_S):
            try:
                self.once()
            except DatabaseError as error:  # a full disk has its own alarm; the next round tries again
                log.debug("upkeep_failed", reason=str(error))
            except Exception:  # the thread's top frame
                log.exception("upkeep_failed")
