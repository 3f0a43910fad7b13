"""What the database file must be: ours and of this version; upgraded step by step, each after a backup.

Runs once, before anybody else uses the file. Knows SQLite; knows nothing of what the tables mean.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

from server_proc.database_errors import DatabaseError, DatabaseFullError, DatabaseUnusableError, translate

APPLICATION_ID = 0x41584F4E  # "AXON": tells our files from those of other programs
# How long another process may keep the database locked; far below the time after which the launcher sees a hang.
BUSY_TIMEOUT_S = 1.5
# Statements for many rows are others for each number of rows.
CACHED_STATEMENTS = 512
HEADER_BYTES = 100
ELSEWHERE = "use another --state-dir"
REMEDY = f"restore a backup of it, move it away, or {ELSEWHERE}"


@contextmanager
def opening_alone(path: Path) -> Iterator[None]:
    """Make the directory of `path`, and keep other processes from creating or upgrading the file meanwhile.

    Raises DatabaseUnusableError, DatabaseFullError.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # The directory, because it is there already: a lock on the file itself would be in SQLite's way.
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise _cannot_open(path, error) from error
    try:
        with suppress(OSError):  # a file system without such locks has no shared memory for WAL either, which is said
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def create_file(path: Path) -> None:
    """Make sure of a regular file that we may write. Raises DatabaseUnusableError, DatabaseFullError."""
    try:
        # Marks are personal data, and SQLite gives the -wal and -shm files the mode of this one.
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    except OSError as error:
        raise _cannot_open(path, error) from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise DatabaseUnusableError(f"cannot open {path}: it is no regular file: {ELSEWHERE}")
    if 0 < found.st_size < HEADER_BYTES:  # SQLite takes a single byte for an empty file, and writes over it
        raise DatabaseUnusableError(f"cannot use {path}: it is no database: move it away, or {ELSEWHERE}")
    log = path.with_name(path.name + "-wal")
    # SQLite would take the log for a stranger's and delete it, and with it every mark that is not in the file yet.
    if found.st_size == 0 and log.exists() and log.stat().st_size:
        raise DatabaseUnusableError(
            f"{path} is missing or empty while {log.name} holds changes to it: restore it from a backup,"
            f" move {log.name} away, or {ELSEWHERE}"
        )


def connect(path: Path) -> sqlite3.Connection:
    # isolation_level None: transactions are ours to begin. Connections move between threads, one at a time.
    return sqlite3.connect(
        path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False, cached_statements=CACHED_STATEMENTS
    )


@contextmanager
def left_as_it_is(path: Path) -> Iterator[None]:
    """Keep the file and its log from being changed by the connections that are closed in this block.

    Whoever closes the last connection copies the log into the file and deletes it; not so one that may only read.
    """
    with ExitStack() as last:
        with suppress(sqlite3.Error):  # of a file that is no database; the lock that counts is there nevertheless
            uri = f"{path.absolute().as_uri()}?mode=ro"
            reader = last.enter_context(closing(sqlite3.connect(uri, uri=True, timeout=0)))
            reader.execute("PRAGMA user_version").fetchone()
        yield


def migrate(connection: sqlite3.Connection, path: Path, migrations_dir: Path) -> None:
    """Bring the file to the newest version. Raises DatabaseUnusableError, sqlite3.Error; then it is as it was."""
    migrations = sorted(migrations_dir.glob("[0-9]*.sql"))
    newest = _number(migrations[-1])
    version = _checked_version(connection, path)
    if version > newest:
        raise DatabaseUnusableError(
            f"{path} was written by a newer Axon (schema {version}, this one knows {newest}):"
            f" install that version, or {ELSEWHERE}"
        )
    if connection.execute("PRAGMA journal_mode = WAL").fetchone()[0] != "wal":
        raise DatabaseUnusableError(f"{path}: the file system has no shared memory for WAL: use a local disk")
    holds_data = version > 0
    if holds_data and version < newest:
        _require_whole(connection, path)
    for migration in migrations:
        if _number(migration) > version:
            if holds_data:
                _back_up(connection, path, version)
            _apply(connection, migration)
            version = _number(migration)


def _checked_version(connection: sqlite3.Connection, path: Path) -> int:
    """Return the schema version, after looking whose file this is and before anything is changed in it."""
    application_id = int(connection.execute("PRAGMA application_id").fetchone()[0])
    is_empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0] == 0
    if application_id != APPLICATION_ID and not is_empty:
        raise DatabaseUnusableError(f"{path} is a database of another program: {ELSEWHERE}")
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _require_whole(connection: sqlite3.Connection, path: Path) -> None:
    """Look through the whole file, as a backup does, before an upgrade writes to it. Raises DatabaseUnusableError."""
    (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if first != "ok":
        damage = " ".join(str(first).split())
        raise DatabaseUnusableError(f"cannot upgrade {path}: it is damaged ({damage}): {REMEDY}")


def _back_up(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """Copy the file as it is to `<name>.bak-<version>`, whole or not at all. Raises DatabaseError."""
    backup = path.with_name(f"{path.name}.bak-{version}")
    partial = path.with_name(f"{path.name}.bak-{version}.partial")
    try:
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        with closing(sqlite3.connect(partial)) as copy:
            connection.backup(copy)
        partial.rename(backup)
        _sync_directory(path.parent)
    except (OSError, sqlite3.Error) as error:
        for leftover in (partial, partial.with_name(f"{partial.name}-journal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else error
        kind = DatabaseFullError if _is_full(error) else DatabaseUnusableError
        raise kind(
            f"cannot back up {path} to {backup.name} before upgrading it, which was not begun: {reason}:"
            f" make room and let this user write there, or {ELSEWHERE}"
        ) from error


def _cannot_open(path: Path, error: OSError) -> DatabaseError:
    kind = DatabaseFullError if _is_full(error) else DatabaseUnusableError
    return kind(f"cannot open {path}: {error.strerror}")


def _is_full(error: OSError | sqlite3.Error) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(translate(error), DatabaseFullError)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
