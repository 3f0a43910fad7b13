"""The database file: writers that take turns, any number of readers that wait for nobody (WAL).

Knows SQLite; knows nothing of marks or messages. Any thread may call.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

from server_proc.batch_writer import BatchWriter, Item, Note, Result, Work
from server_proc.database_errors import (
    DatabaseBusyError,
    DatabaseError,
    DatabaseUnusableError,
    translate,
    translated_errors,
)
from server_proc.disk_alarm import DiskAlarm
from server_proc.files_in_place import FilesInPlace
from server_proc.schema import BUSY_TIMEOUT_S, REMEDY, connect, create_file, left_as_it_is, migrate, opening_alone
from server_proc.write_turn import PATIENCE_S, WriteTurn
from server_proc.write_turn import Transaction as Transaction  # part of what `write` gives

DATABASE_NAME = "attendance.db"  # in the state directory
MIGRATIONS_DIR = Path(__file__).parent / "migrations"
CLOSE_PATIENCE_S = 1.0
LOG_PATIENCE_MS = 250
WRITER_CACHE_KB = 16_000


class Database:
    """An open, migrated database. Source: `open_database`."""

    def __init__(self, path: Path, writer: sqlite3.Connection) -> None:
        self.path = path
        self.alarm = DiskAlarm(path)
        self._writer = WriteTurn(writer)
        self._batches = BatchWriter(self.write)
        self._idle_readers: list[sqlite3.Connection] = []
        self._files = FilesInPlace(path)
        self._is_closed = False

    @contextmanager
    def write(self, patience_s: float = PATIENCE_S) -> Iterator[Transaction]:
        """Run a block as one transaction: durable when the block has been left, undone if it raises.

        Raises DatabaseError, in which case nothing was stored; for example if the block cannot begin within
        `patience_s`.
        """
        self._files.require()
        try:
            with self._writer.write(patience_s) as transaction:
                changes = transaction.connection.total_changes
                yield transaction
                has_changed = transaction.connection.total_changes != changes
        except DatabaseError as error:
            judged = self.alarm.judge(error)
            if judged is error:
                raise
            raise judged from error
        if has_changed and self.alarm.is_raised:
            self.alarm.clear()

    def submit(
        self, work: Work[Item, Result], item: Item, size: int = 1, note: Note[Result] | None = None
    ) -> Future[Result]:
        """Have `work` write an item, in a transaction shared with others: for what comes in crowds. See BatchWriter."""
        return self._batches.submit(work, item, size, note)

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

    def check_writable(self, patience_s: float) -> None:
        """Raise DatabaseError when no transaction could be written now; to know that, one is."""
        self.check_in_place()
        with self.write(patience_s) as transaction:
            # Another value each time: SQLite writes no page whose content stays the same.
            transaction.connection.execute(
                "INSERT INTO meta (key, value) VALUES ('checked', '1')"
                " ON CONFLICT (key) DO UPDATE SET value = CAST(value AS INTEGER) % 1000 + 1"
            )

    def check_in_place(self) -> None:
        """Raise DatabaseUnusableError, as every write from then on, when the files are not those that we opened."""
        self._files.check()

    def log_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        try:
            return self.path.with_name(f"{self.path.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def empty_log(self) -> bool:
        """Copy the write-ahead log into the file and truncate it; False if a reader did not let go of it in time.

        Writers wait meanwhile, as long as the longest read that is under way and at most LOG_PATIENCE_MS.
        """
        with translated_errors(), self._writer.alone() as connection:
            connection.execute(f"PRAGMA busy_timeout = {LOG_PATIENCE_MS}")
            try:
                (is_blocked, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")
        return not is_blocked

    def close(self) -> None:
        """Close the connections that nobody uses. What is committed is durable without it."""
        give_up_s = time.monotonic() + CLOSE_PATIENCE_S  # for both: a disk that hangs must not hold up the end
        self._batches.close(CLOSE_PATIENCE_S)
        self._is_closed = True
        while self._idle_readers:
            self._idle_readers.pop().close()
        self._writer.close(max(0.0, give_up_s - time.monotonic()))

    def _require_open(self) -> None:
        if self._is_closed:
            raise DatabaseBusyError("the database has been closed")

    def _borrow_reader(self) -> sqlite3.Connection:
        try:
            return self._idle_readers.pop()  # atomic, so no lock
        except IndexError:
            return connect(self.path)


def open_database(path: Path, migrations_dir: Path = MIGRATIONS_DIR) -> Database:
    """Open the database, creating or upgrading it. Raises DatabaseError with one line for the operator."""
    with opening_alone(path):
        create_file(path)
        return Database(path, _open_writer(path, migrations_dir))


def _open_writer(path: Path, migrations_dir: Path) -> sqlite3.Connection:
    try:
        connection = connect(path)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            # Else each statement with many rows makes a file, in case it has to be undone half-way.
            connection.execute("PRAGMA temp_store = MEMORY")
            # The pages of the indexes that marks go into; the default of 2 MB is too small for a million of them.
            connection.execute(f"PRAGMA cache_size = -{WRITER_CACHE_KB}")
            migrate(connection, path, migrations_dir)
        except BaseException:
            with left_as_it_is(path):
                connection.close()
            raise
    except sqlite3.Error as error:
        raise _about(path, translate(error)) from error
    return connection


def _about(path: Path, error: Exception) -> Exception:
    """Give an operator the whole story in one line."""
    if isinstance(error, DatabaseUnusableError):
        return DatabaseUnusableError(f"cannot use {path}: {error}: {REMEDY}")
    if isinstance(error, DatabaseError):
        return type(error)(f"cannot use {path} now: {error}")
    return DatabaseUnusableError(f"cannot upgrade {path}: {error}: please report this")
