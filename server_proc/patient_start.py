"""Beginning although the disk is full or somebody has locked the database: tried again until it works.

Knows which errors pass by themselves; knows nothing of what is begun. Runs on the child's main thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import structlog

from server_proc.database_errors import DatabaseBusyError, DatabaseError, DatabaseFullError
from server_proc.disk_alarm import DiskAlarm

RETRY_S = 1.0
# Below the launcher's limit for a start, with room for a last try: a start that takes longer looks like a hang.
PATIENCE_S = 20.0

Result = TypeVar("Result")

log = structlog.get_logger()


class PatientStart:
    """Tries until it works, it is time to stop, or PATIENCE_S are over. `wait(seconds)`: True if it is time to stop."""

    def __init__(self, path: Path, wait: Callable[[float], bool], clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._alarm = DiskAlarm(path)
        self._wait = wait
        self._clock = clock
        self._has_waited = False

    def run(self, begin: Callable[[], Result]) -> Result | None:
        """Return what `begin` does once it works, None if it is time to stop.

        Raises what is no matter of waiting, and the last error when it has taken too long.
        """
        give_up_s = self._clock() + PATIENCE_S
        while True:
            try:
                result = begin()
            except (DatabaseFullError, DatabaseBusyError) as error:
                self._say(self._alarm.judge(error))
                if self._clock() >= give_up_s:
                    raise
                if self._wait(RETRY_S):
                    return None
            else:
                self._alarm.clear()
                return result

    def _say(self, error: DatabaseError) -> None:
        if isinstance(error, DatabaseFullError) or self._has_waited:
            return  # a full disk has its own alarm
        self._has_waited = True
        log.warning(
            "database_waited",
            path=str(self._path),
            reason=str(error),
            remedy="end the program that has locked it: the server begins as soon as it can",
        )
