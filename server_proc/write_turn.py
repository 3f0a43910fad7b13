"""The connection that writes: whoever has the turn writes one transaction and commits it before the next one begins.

Nobody waits for long: not for the turn, and not for another process that has locked the database.

Knows SQLite's transactions; knows nothing of what is written. Any thread may write; what comes over HTTP in crowds is
written by one, many items in a transaction (see BatchWriter).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server_proc.database_errors import DatabaseBusyError, translated_errors
from server_proc.fault_points import reach
from server_proc.schema import BUSY_TIMEOUT_S

# From standing in line until writing begins. Longer, and writers who hold every thread there is would look like a hang.
PATIENCE_S = 3.0


class Transaction:
    """A transaction that is being written: its connection, and what is to happen once it is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.callbacks: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the commit, before the next writer may begin: so in the order of the writes."""
        self.callbacks.append(callback)


class WriteTurn:
    """Owns the connection that writes. After `close` every write is refused."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._is_closed = False

    @contextmanager
    def write(self, patience_s: float = PATIENCE_S) -> Iterator[Transaction]:
        """Run a block as one transaction: durable when the block has been left, undone if it raises.

        Raises DatabaseError, in which case nothing was stored. `patience_s` bounds the wait before the block.
        """
        give_up_s = time.monotonic() + patience_s
        with self._taken(patience_s), translated_errors():
            self._begin(give_up_s - time.monotonic())
            transaction = Transaction(self._connection)
            try:
                yield transaction
                self._commit()
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            for callback in transaction.callbacks:
                callback()

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """Run a block between two commits, outside any transaction."""
        with self._taken(PATIENCE_S):
            yield self._connection

    def close(self, patience_s: float) -> None:
        """Close the connection, unless a writer keeps its turn for longer than `patience_s`."""
        self._is_closed = True
        if self._turn.acquire(timeout=patience_s):
            try:
                self._connection.close()
            finally:
                self._turn.release()

    @contextmanager
    def _taken(self, patience_s: float) -> Iterator[None]:
        if not self._turn.acquire(timeout=patience_s):
            raise DatabaseBusyError(f"another write has been under way for {patience_s:g} s")
        try:
            if self._is_closed:
                raise DatabaseBusyError("the database has been closed")
            yield
        finally:
            self._turn.release()

    def _begin(self, patience_s: float) -> None:
        is_hasty = patience_s < BUSY_TIMEOUT_S
        if is_hasty:
            self._connection.execute(f"PRAGMA busy_timeout = {max(0, int(patience_s * 1000))}")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            if is_hasty:
                self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")

    def _commit(self) -> None:
        if not self._connection.in_transaction:  # the block went on after SQLite had undone all of it
            raise DatabaseBusyError("the transaction was undone by an error in it")
        reach("before_commit")
        self._connection.execute("COMMIT")
        reach("after_commit")
