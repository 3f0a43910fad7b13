"""Where log lines end up: a descriptor (stdout), and a file that makes room for itself.

Owns the writing of bytes; knows nothing of threads or of what a line says. Called by a LogWriter's thread.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from pathlib import Path


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`, also to a descriptor that somebody made non-blocking."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            # A terminal is one open file for all who use it: any of them may have set O_NONBLOCK.
            select.select((), (descriptor,), ())


class RenderedStream:
    """Lines to a descriptor, each through `render` first."""

    def __init__(self, descriptor: int, render: Callable[[bytes], bytes] | None = None) -> None:
        self._descriptor = descriptor
        self._render = render

    def write(self, lines: list[bytes]) -> None:
        """Write the lines. Raises OSError when nobody reads any more."""
        rendered = map(self._render, lines) if self._render else lines
        write_all(self._descriptor, b"".join(line + b"\n" for line in rendered))


class RotatingFile:
    """Lines to `path`; when it has grown to `max_bytes` it becomes `path.1`, that `path.2`, up to `path.<keep>`."""

    def __init__(self, path: Path, max_bytes: int = 10 << 20, keep: int = 5) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._descriptor = self._open()
        self._size_bytes = os.fstat(self._descriptor).st_size

    def write(self, lines: list[bytes]) -> None:
        """Append the lines, whole, to one file."""
        data = b"".join(line + b"\n" for line in lines)
        if self._size_bytes and self._size_bytes + len(data) > self._max_bytes:
            self._rotate()
        write_all(self._descriptor, data)
        self._size_bytes += len(data)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.open(self._path, flags, 0o600)

    def _rotate(self) -> None:
        for number in range(self._keep - 1, 0, -1):
            older = self._numbered(number)
            if older.exists():
                older.replace(self._numbered(number + 1))
        self._path.replace(self._numbered(1))
        os.close(self._descriptor)
        self._descriptor = self._open()
        self._size_bytes = 0

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")
