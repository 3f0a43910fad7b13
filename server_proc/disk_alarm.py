"""The alarm for a full disk: raised once when writes fail for want of room, taken back with the next that works.

Knows the database's errors and the file system; knows nothing of what is written. Any thread that writes.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from server_proc.database_errors import DatabaseBusyError, DatabaseError, DatabaseFullError

# With less than this SQLite cannot grow its files; what it then meets is sometimes called an I/O error.
MIN_FREE_BYTES = 256 << 10

log = structlog.get_logger()


class DiskAlarm:
    """Says in the log when the disk of `path` is full, and when there is room again."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._since: float | None = None
        self._refused = 0

    @property
    def is_raised(self) -> bool:
        return self._since is not None

    def judge(self, error: DatabaseError) -> DatabaseError:
        """Return the error of a write as what it is: that of a full disk raises the alarm."""
        if isinstance(error, DatabaseBusyError) and _is_io_error(error) and self._free_bytes() < MIN_FREE_BYTES:
            error = DatabaseFullError(str(error))
        if isinstance(error, DatabaseFullError):
            self._raise(str(error))
        return error

    def clear(self) -> None:
        """Take the alarm back: something has been written."""
        with self._lock:
            if self._since is None:
                return
            lasted_s, refused = self._clock() - self._since, self._refused
            self._since, self._refused = None, 0
        log.warning("disk_recovered", path=str(self._path), lasted_s=round(lasted_s, 1), writes_refused=refused)

    def _raise(self, reason: str) -> None:
        with self._lock:
            self._refused += 1
            if self._since is not None:
                return
            self._since = self._clock()
        log.error(
            "disk_full",
            path=str(self._path),
            free_bytes=self._free_bytes(),
            reason=reason,
            remedy="make room: no mark is stored until then, and by itself from then on",
        )

    def _free_bytes(self) -> int:
        try:
            found = os.statvfs(self._path.parent)
        except OSError:
            return 0
        return found.f_bavail * found.f_frsize


def _is_io_error(error: DatabaseError) -> bool:
    code = getattr(error.__cause__, "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_IOERR)
