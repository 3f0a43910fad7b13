"""What can be wrong with the database, and the one place where SQLite's errors become ours. Any thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


class DatabaseError(Exception):
    """The database did not do what was asked; nothing of the transaction was stored."""


class DatabaseUnusableError(DatabaseError):
    """The file cannot be used as it is, however often it is tried; the message is one line for the operator."""


class DatabaseBusyError(DatabaseError):
    """Somebody or something else is in the way (a lock, the disk); it may work the next time."""


class DatabaseFullError(DatabaseError):
    """There is no room on the disk; it works again as soon as there is."""


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn errors that SQLite meets into ours; mistakes in our SQL stay what they are."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise translate(error) from error


def translate(error: sqlite3.Error) -> Exception:
    """Return our error for one of SQLite's, or the same one if it is our mistake."""
    # The low byte of an extended code is the plain one. Errors of the Python module itself have no code.
    kind = _KINDS.get(getattr(error, "sqlite_errorcode", 0) & 0xFF)
    if kind is None:
        return error
    translated = kind(str(error))
    translated.__cause__ = error
    return translated


_KINDS: dict[int, type[DatabaseError]] = {
    sqlite3.SQLITE_BUSY: DatabaseBusyError,
    sqlite3.SQLITE_CANTOPEN: DatabaseUnusableError,
    sqlite3.SQLITE_CORRUPT: DatabaseUnusableError,
    sqlite3.SQLITE_FULL: DatabaseFullError,
    sqlite3.SQLITE_IOERR: DatabaseBusyError,
    sqlite3.SQLITE_LOCKED: DatabaseBusyError,
    sqlite3.SQLITE_NOTADB: DatabaseUnusableError,
    sqlite3.SQLITE_READONLY: DatabaseUnusableError,
}
