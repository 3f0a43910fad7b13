"""Where this launch's log goes: stdout, as a person or a program reads it, and a rotating file.

Owns the choice of the formats and what happens when an output fails. The callbacks run on the writers' threads.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import structlog

from launcher.console import render
from launcher.errors import SettingsError
from launcher.log_file import RenderedStream, RotatingFile
from launcher.log_writer import LogTarget, LogWriter
from launcher.logs import LogPipeline, decoded

_log = structlog.get_logger()
_STDOUT = 1
_MAY_PASS = (errno.ENOSPC, errno.EDQUOT, errno.EAGAIN)  # a full disk behind stdout is no reason to stop working
_STDOUT_QUEUE_BYTES = 4 << 20
_FILE_QUEUE_BYTES = 8 << 20


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

    stdout = LogTarget(
        name="stdout",
        write=_stdout(log_format).write,
        count_line=logs.count_line,
        on_failure=stdout_failed,
        max_bytes=_STDOUT_QUEUE_BYTES,
    )
    to_file = LogTarget(
        name="file",
        write=rotating.write,
        count_line=logs.count_line,
        on_failure=_FileFailure(file),
        max_bytes=_FILE_QUEUE_BYTES,
    )
    return LogWriter(stdout), LogWriter(to_file)


class _FileFailure:
    """Says once that the log file cannot be written, and has its writer try again with the next lines."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._was_said = False

    def __call__(self, _name: str, error: OSError) -> bool:
        if not self._was_said:
            self._was_said = True
            _log.error("log_file_failed", file=str(self._file), reason=error.strerror)
        return True


def _stdout(log_format: str) -> RenderedStream:
    is_terminal = os.isatty(_STDOUT)
    if log_format == "json" or (log_format == "auto" and not is_terminal):
        return RenderedStream(_STDOUT)
    colours = is_terminal and not os.environ.get("NO_COLOR")
    return RenderedStream(_STDOUT, decoded(partial(render, colours=colours)))
