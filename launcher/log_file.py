"""Where log lines end up: a descriptor (stdout), and a file that makes room for itself.

Owns the writing of bytes; knows nothing of threads or of what a line says. Called by a LogWriter's thread.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path

from launcher.log_writer import PartlyWritten

MAX_BYTES = 16 << 20
KEEP = 8


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, also to a descriptor that somebody made non-blocking. Raises Unfinished."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # A terminal is one open file for all who use it: any of them may have set O_NONBLOCK.
            select.select((), (descriptor,), ())
        except OSError as error:
            raise Unfinished(error, len(data) - len(view)) from error


class Unfinished(OSError):
    """Only the first `written_bytes` were written."""

    def __init__(self, cause: OSError, written_bytes: int) -> None:
        super().__init__(cause.errno, cause.strerror)
        self.written_bytes = written_bytes


class RenderedStream:
    """Lines to a descriptor, each through `render` first."""

    def __init__(self, descriptor: int, render: Callable[[bytes], bytes] | None = None) -> None:
        self._descriptor = descriptor
        self._render = render
        self._is_torn = False

    def write(self, lines: list[bytes]) -> None:
        """Write the lines. Raises PartlyWritten, with an errno, when nobody reads any more or there is no room."""
        rendered = [line + b"\n" for line in (map(self._render, lines) if self._render else lines)]
        if self._is_torn:
            rendered[0] = b"\n" + rendered[0]  # the half line that is there already gets its end
        try:
            write_all(self._descriptor, b"".join(rendered))
            self._is_torn = False
        except Unfinished as error:
            whole, rest_bytes = 0, error.written_bytes
            while rest_bytes and rest_bytes >= len(rendered[whole]):
                rest_bytes -= len(rendered[whole])
                whole += 1
            self._is_torn = bool(rest_bytes) or (self._is_torn and not whole)
            raise PartlyWritten(error, whole) from error


class RotatingFile:
    """Lines to `path`; when it has grown to `max_bytes` it becomes `path.1`, that `path.2`, up to `path.<keep>`.

    A file that somebody else has moved or removed is made anew. While a new one cannot be made, the old one grows on.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, keep: int = KEEP) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor = self._open()

    def write(self, lines: list[bytes]) -> None:
        """Append the lines, whole, to one file. Raises OSError, and then none of them is there."""
        data = b"".join(line + b"\n" for line in lines)
        self._settle(len(data))
        size_bytes = os.fstat(self._descriptor).st_size
        try:
            write_all(self._descriptor, data)
        except Unfinished:
            os.ftruncate(self._descriptor, size_bytes)  # no half line, and none that is counted as lost but is there
            raise

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _settle(self, more_bytes: int) -> None:
        """See to it that the descriptor is that of `path`, with room for `more_bytes`."""
        size_bytes = os.fstat(self._descriptor).st_size
        if not self._is_in_place():
            self._reopen()
        elif size_bytes and size_bytes + more_bytes > self._max_bytes:
            try:
                self._shift()
            except OSError:
                return  # a file that is too large beats lines that are lost
            self._reopen()

    def _is_in_place(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path, follow_symlinks=False), os.fstat(self._descriptor))
        except OSError:
            return False  # gone, or its directory is closed to us: opening it anew tells

    def _reopen(self) -> None:
        try:
            descriptor = self._open()
        except OSError:
            if os.fstat(self._descriptor).st_nlink:
                return  # ours has another name by now, but it is there
            raise
        os.close(self._descriptor)
        self._descriptor = descriptor

    def _open(self) -> int:
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)

    def _shift(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
