"""Group commit: writers take turns on one connection, and the last one in line commits for all of them.

A commit waits for the disk; what the others write meanwhile needs only one more. So a writer who leaves its turn while
others wait for theirs leaves the commit to them, and each comes back only once its writes are durable. Nobody waits for
company: who is alone commits at once. A write that fails is undone alone, by its savepoint.

Knows SQLite's transactions; knows nothing of what is written. Any thread may write.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server_proc.database_errors import DatabaseBusyError, translate, translated_errors
from server_proc.fault_points import reach

MAX_GROUP = 128


class Transaction:
    """One writer's part of a transaction: its connection, and what is to happen once it is committed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.callbacks: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` after the commit, before the next writer may begin: so in the order of the writes."""
        self.callbacks.append(callback)


class _Group:
    """The writers whose writes are made durable by the same commit."""

    def __init__(self) -> None:
        self.size = 0
        self.callbacks: list[Callable[[], None]] = []
        self.error: Exception | None = None
        self.is_done = threading.Event()

    def end(self, error: Exception | None) -> None:
        self.error = error
        self.is_done.set()

    def outcome(self) -> None:
        """Wait for the commit. Raises what it raised; each writer gets an exception of its own."""
        self.is_done.wait()
        if self.error is not None:
            raise type(self.error)(str(self.error)) from (self.error.__cause__ or self.error)


class GroupCommit:
    """Owns the connection that writes. After `close` every write is refused."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._turn = threading.Lock()
        self._line_lock = threading.Lock()
        self._in_line = 0  # writers that are bound to take the turn: the one who has it may leave the commit to them
        self._group: _Group | None = None
        self._is_closed = False

    @contextmanager
    def write(self, timeout_s: float = -1) -> Iterator[Transaction]:
        """Run a block as one transaction: durable when the block has been left, undone if it raises.

        Raises DatabaseError, in which case nothing was stored.
        """
        self._take_turn(timeout_s)
        try:
            transaction = Transaction(self._connection)
            with translated_errors():
                group = self._join()
                with self._undone_on_error(group):
                    yield transaction
                    self._require_transaction()
            group.size += 1
            group.callbacks += transaction.callbacks
        finally:
            self._leave_turn()
        group.outcome()

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """Run a block between two commits, outside any transaction."""
        self._take_turn(-1)
        try:
            self._commit()
            self._require_open()
            yield self._connection
        finally:
            self._turn.release()

    def close(self, patience_s: float) -> None:
        """Close the connection, unless a writer keeps its turn for longer than `patience_s`."""
        self._is_closed = True
        if self._turn.acquire(timeout=patience_s):
            try:
                self._commit()
                self._connection.close()
            finally:
                self._turn.release()

    def _take_turn(self, timeout_s: float) -> None:
        if timeout_s >= 0:
            # Not in line: it may give up, and then nobody would commit.
            if not self._turn.acquire(timeout=timeout_s):
                raise DatabaseBusyError(f"another write has been under way for {timeout_s} s")
            return
        with self._line_lock:
            self._in_line += 1
        self._turn.acquire()
        with self._line_lock:
            self._in_line -= 1

    def _leave_turn(self) -> None:
        try:
            group = self._group
            if group is not None and (self._in_line == 0 or group.size >= MAX_GROUP):
                self._commit()
        finally:
            self._turn.release()

    def _join(self) -> _Group:
        self._require_open()
        if self._group is None:
            self._connection.execute("BEGIN IMMEDIATE")
            self._group = _Group()
        elif self._group.size:
            self._connection.execute("SAVEPOINT writer")
        return self._group

    def _require_open(self) -> None:
        if self._is_closed:
            raise DatabaseBusyError("the database has been closed")

    @contextmanager
    def _undone_on_error(self, group: _Group) -> Iterator[None]:
        connection = self._connection
        try:
            yield
            if group.size:
                connection.execute("RELEASE writer")
        except BaseException as error:
            self._undo(group, error)
            raise

    def _undo(self, group: _Group, error: BaseException) -> None:
        """Undo what the writer who has the turn has written, and nothing else if that is possible."""
        connection = self._connection
        if connection.in_transaction and group.size:
            try:
                connection.execute("ROLLBACK TO writer")
                connection.execute("RELEASE writer")
                return
            except sqlite3.Error as failure:
                error = failure
        # The first writer's part is all there is; or SQLite has undone the parts of all (a full disk, say).
        self._group = None
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        group.end(translate(error) if isinstance(error, sqlite3.Error) else DatabaseBusyError(str(error)))

    def _require_transaction(self) -> None:
        """Refuse the end of a block that went on after SQLite had undone the transaction."""
        if not self._connection.in_transaction:
            raise DatabaseBusyError("the transaction was undone by an error in it")

    def _commit(self) -> None:
        """Make the group's writes durable, then tell its writers. Called by who has the turn."""
        group, self._group = self._group, None
        if group is None:
            return
        error: Exception | None = None
        try:
            reach("before_commit")
            self._connection.execute("COMMIT")
            reach("after_commit")
        except sqlite3.Error as failure:
            error = translate(failure)
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        try:
            if error is None:
                for callback in group.callbacks:
                    callback()
        finally:
            group.end(error)
