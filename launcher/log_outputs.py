"""Where this launch's log goes: stdout, as a person or a program reads it, and a rotating file.

Owns the choice of the formats and what happens when an output fails. The callbacks run on the writers' threads.
"""

from __future__ import annotations

import errno
import os
import select
import stat
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from launcher.console import Look, decoded
from launcher.errors import SettingsError
from launcher.log_file import RenderedStream, RotatingFile
from launcher.log_writer import LogTarget, LogWriter
from launcher.logs import LogPipeline

_log = structlog.get_logger()
STDOUT = 1
# A full disk behind stdout is no reason to stop working.
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EAGAIN)
_STDOUT_QUEUE_BYTES = 3 << 20
_STDOUT_GIVE_WAY_S = 0.005
_FILE_QUEUE_BYTES = 6 << 20
_FILE_GIVE_WAY_S = 0.02
_SILENT_S = 60.0


def make_writers(
    logs: LogPipeline, log_format: str, file: Path, on_stdout_closed: Callable[[str], None]
) -> tuple[LogWriter, LogWriter]:
    """Make the writers for stdout and for the file, not started yet. Raises SettingsError."""
    try:
        rotating = RotatingFile(file)
    except OSError as error:
        raise SettingsError(f"--state-dir: cannot write {file}: {error.strerror}") from error

    def stdout_failed(_name: str, error: OSError) -> bool:
        if error.errno in _MAY_PASS:
            return True
        on_stdout_closed(f"stdout was closed: {error.strerror}")
        return False

    if stat.S_ISFIFO(os.fstat(STDOUT).st_mode):
        watch = threading.Thread(target=_wait_for_end, args=(on_stdout_closed,), name="stdout-watch", daemon=True)
        watch.start()
    stdout = LogTarget(
        name="stdout",
        write=stream(log_format, STDOUT).write,
        count_line=logs.count_line,
        on_failure=stdout_failed,
        max_bytes=_STDOUT_QUEUE_BYTES,
        give_way_s=_STDOUT_GIVE_WAY_S,
    )
    to_file = LogTarget(
        name="file",
        write=rotating.write,
        count_line=logs.count_line,
        on_failure=_FileFailure(file),
        max_bytes=_FILE_QUEUE_BYTES,
        give_way_s=_FILE_GIVE_WAY_S,
    )
    return LogWriter(stdout), LogWriter(to_file)


def _wait_for_end(on_stdout_closed: Callable[[str], None]) -> None:
    """Wait until nobody reads our pipe any more: `| head -1` is not to wait for the next line, which may take hours."""
    poll = select.poll()
    poll.register(STDOUT, 0)
    poll.poll()
    on_stdout_closed("stdout was closed")


class _FileFailure:
    """Says, not more often than every minute, that the log file cannot be written, and has its writer try again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._silent_until_s = 0.0

    def __call__(self, _name: str, error: OSError) -> bool:
        now = time.monotonic()
        if now >= self._silent_until_s:
            self._silent_until_s = now + _SILENT_S
            _log.error("log_file_failed", file=str(self._file), reason=error.strerror)
        return True


def stream(log_format: str, descriptor: int) -> RenderedStream:
    """Return an output for a person or a program; "auto" means a person if it is a terminal."""
    if log_format == "json" or (log_format == "auto" and not os.isatty(descriptor)):
        return RenderedStream(descriptor)
    return RenderedStream(descriptor, decoded(partial(look_of, descriptor)))


def look_of(descriptor: int) -> Look:
    """Return how to show events on this descriptor as it is now."""
    if not os.isatty(descriptor):
        return Look(colours=False)
    try:
        columns = os.get_terminal_size(descriptor).columns
    except OSError:
        columns = 0
    return Look(colours=not os.environ.get("NO_COLOR"), columns=columns or None)
