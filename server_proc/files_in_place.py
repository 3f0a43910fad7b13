"""Whether the database's files are still those that were opened.

A file that was removed or replaced stays open and takes every write, which nobody will ever find again. Knows the file
system; knows nothing of SQLite but the names of its files. Any thread.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from server_proc.database_errors import DatabaseUnusableError

REMEDY = "put it back if you can, then `run.py restart server`"

log = structlog.get_logger()


class FilesInPlace:
    """Remembers the files of `path`, which are open by now. Once one of them is gone, it stays so."""

    def __init__(self, path: Path) -> None:
        self._opened = {file: _identity(file) for file in (path, path.with_name(f"{path.name}-wal")) if file.exists()}
        self._fault: str | None = None

    def require(self) -> None:
        """Raise DatabaseUnusableError if `check` has ever found a file gone."""
        if self._fault is not None:
            raise DatabaseUnusableError(self._fault)

    def check(self) -> None:
        """Look, say once in the log what is gone, and raise DatabaseUnusableError."""
        self.require()
        for file, opened in self._opened.items():
            try:
                is_in_place = _identity(file) == opened
            except FileNotFoundError:
                is_in_place = False
            except OSError:
                continue  # a directory that cannot be read for a moment proves nothing
            if not is_in_place:
                self._fault = f"{file} was removed or replaced while it was in use: {REMEDY}"
                log.error("database_lost", path=str(file), reason=self._fault)
                self.require()


def _identity(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_dev, found.st_ino
