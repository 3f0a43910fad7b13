"""The database file: opening it safely, its migrations, one writer at a time, any number of readers.

Knows SQLite; knows nothing of marks or messages. Any thread may call; writers wait for each other on one lock
and readers wait for nobody (WAL).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from server_proc.database_errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnusableError,
    translate,
    translated_errors,
)

DATABASE_NAME = "attendance.db"  # in the state directory
MIGRATIONS_DIR = Path(__file__).parent / "migrations"
APPLICATION_ID = 0x41584F4E  # "AXON": tells our files from those of other programs
BUSY_TIMEOUT_S = 5.0
CLOSE_PATIENCE_S = 1.0
REMEDY = "restore a backup of it, move it away, or use another --state-dir"


class Transaction:
    """One write transaction: its connection, and what is to happen once it is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self._callbacks: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the commit, before the next writer may begin: so in commit order."""
        self._callbacks.append(callback)

    def committed(self) -> None:
        for callback in self._callbacks:
            callback()


class Database:
    """An open, migrated database. Source: `open_database`."""

    def __init__(self, path: Path, writer: sqlite3.Connection) -> None:
        self.path = path
        self._writer = writer
        self._writer_lock = threading.Lock()
        self._idle_readers: list[sqlite3.Connection] = []
        self._is_closed = False

    @contextmanager
    def write(self, timeout_s: float = -1) -> Iterator[Transaction]:
        """Run a block as one transaction: durable when the block has been left, undone if it raises.

        Raises DatabaseError, in which case nothing was stored.
        """
        if not self._writer_lock.acquire(timeout=timeout_s):
            raise DatabaseBusyError(f"another write has been under way for {timeout_s} s")
        try:
            self._require_open()
            transaction = Transaction(self._writer)
            with translated_errors(), self._rolled_back_on_error():
                self._writer.execute("BEGIN IMMEDIATE")
                yield transaction
                self._writer.execute("COMMIT")
            transaction.committed()
        finally:
            self._writer_lock.release()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Run a block on one consistent view of what is committed. Raises DatabaseError."""
        with translated_errors():
            self._require_open()
            connection = self._borrow_reader()
            try:
                connection.execute("BEGIN")
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                connection.close()
                raise
            self._idle_readers.append(connection)

    def check_writable(self, timeout_s: float) -> None:
        """Raise DatabaseError when no transaction could be written now; to know that, one is."""
        with self.write(timeout_s) as transaction:
            # Another value each time: SQLite writes no page whose content stays the same.
            transaction.connection.execute(
                "INSERT INTO meta (key, value) VALUES ('checked', '1')"
                " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) % 1000 + 1"
            )

    def close(self) -> None:
        """Close the connections that nobody uses. What is committed is durable without it."""
        self._is_closed = True
        if self._writer_lock.acquire(timeout=CLOSE_PATIENCE_S):  # a disk that hangs must not hold up the end
            try:
                while self._idle_readers:
                    self._idle_readers.pop().close()
                self._writer.close()
            finally:
                self._writer_lock.release()

    def _require_open(self) -> None:
        if self._is_closed:
            raise DatabaseBusyError("the database has been closed")

    def _borrow_reader(self) -> sqlite3.Connection:
        try:
            return self._idle_readers.pop()  # atomic, so no lock
        except IndexError:
            return _connect(self.path)

    @contextmanager
    def _rolled_back_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if self._writer.in_transaction:  # a full disk has already rolled back by itself
                self._writer.execute("ROLLBACK")
            raise


def open_database(path: Path, migrations_dir: Path = MIGRATIONS_DIR) -> Database:
    """Open the database, creating or upgrading it. Raises DatabaseError with one line for the operator."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Marks are personal data, and SQLite gives the -wal and -shm files the mode of this one.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise DatabaseUnusableError(f"cannot open {path}: {error.strerror}") from error
    connection = _connect(path)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        _migrate(connection, path, migrations_dir)
    except sqlite3.Error as error:
        connection.close()
        raise _about(path, translate(error)) from error
    except BaseException:
        connection.close()
        raise
    return Database(path, connection)


def _about(path: Path, error: Exception) -> Exception:
    """Give an operator the whole story in one line."""
    if isinstance(error, DatabaseUnusableError):
        return DatabaseUnusableError(f"cannot use {path}: {error}: {REMEDY}")
    if isinstance(error, DatabaseError):
        return type(error)(f"cannot use {path} now: {error}")
    return DatabaseUnusableError(f"cannot upgrade {path}: {error}: please report this")


def _connect(path: Path) -> sqlite3.Connection:
    # isolation_level None: transactions are ours to begin. Connections move between threads, one at a time.
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)


def _migrate(connection: sqlite3.Connection, path: Path, migrations_dir: Path) -> None:
    migrations = sorted(migrations_dir.glob("[0-9]*.sql"))
    newest = _number(migrations[-1])
    version = _checked_version(connection, path)
    if version > newest:
        raise DatabaseUnusableError(
            f"{path} was written by a newer Axon (schema {version}, this one knows {newest}):"
            " install that version, or use another --state-dir"
        )
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise DatabaseUnusableError(f"{path}: the file system has no shared memory for WAL: use a local disk")
    for migration in migrations:
        if _number(migration) > version:
            _apply(connection, migration)


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version, after looking whose file this is and before anything is changed in it."""
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application_id != APPLICATION_ID and not is_empty:
        raise DatabaseUnusableError(f"{path} is a database of another program: use another --state-dir")
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _apply(connection: sqlite3.Connection, migration: Path) -> None:
    marker = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {_number(migration)};"
    try:
        connection.executescript(f"BEGIN IMMEDIATE; {migration.read_text()}; {marker} COMMIT;")
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _number(migration: Path) -> int:
    return int(migration.name.partition("_")[0])
