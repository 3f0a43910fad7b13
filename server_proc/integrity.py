"""Looking through the whole database for damage, once per launch and before anything is written to it.

Reading every page takes 0.3 s for a million marks: too long for a server that comes back after a crash, nothing when
the product starts. So the launch that has been checked for is noted in the database. Runs on the thread that opens it.
"""

from __future__ import annotations

import sqlite3
import time

import structlog

from server_proc.database import Database
from server_proc.database_errors import DatabaseBusyError, DatabaseFullError, DatabaseUnusableError
from server_proc.schema import REMEDY

# What can be read in this time is looked at; a file so large is not worth keeping everybody waiting.
PATIENCE_S = 3.0
_STEPS_BETWEEN_LOOKS = 100_000

log = structlog.get_logger()


def check_once(database: Database, run_id: str) -> None:
    """Look for damage, unless that was done for this launch. Raises DatabaseUnusableError with one line."""
    try:
        with database.read() as connection:
            checked = connection.execute("SELECT value FROM meta WHERE key = 'checked_run'").fetchone()
            if checked is not None and checked[0] == run_id:
                return
            damage = find_damage(connection, PATIENCE_S)
    except DatabaseUnusableError as error:
        damage = str(error)
    if damage is not None:
        raise DatabaseUnusableError(f"cannot use {database.path}: it is damaged ({damage}): {REMEDY}")
    try:
        with database.write() as transaction:
            transaction.connection.execute("INSERT OR REPLACE INTO meta VALUES ('checked_run', ?)", (run_id,))
    except (DatabaseFullError, DatabaseBusyError):
        pass  # the next start looks again


def find_damage(connection: sqlite3.Connection, patience_s: float) -> str | None:
    """Return the first damage met within `patience_s`, in one line, or None."""
    give_up = time.monotonic() + patience_s
    connection.set_progress_handler(lambda: time.monotonic() > give_up, _STEPS_BETWEEN_LOOKS)
    try:
        (first,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
            raise
        log.warning("database_check_cut_short", patience_s=patience_s)
        return None
    finally:
        connection.set_progress_handler(None, 0)
    return None if first == "ok" else " ".join(str(first).split())
