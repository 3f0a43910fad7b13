"""Group commit: writers take turns on one connection, and the last one in line commits for all of them.

A commit waits for the disk; what the others write meanwhile needs only one more. So a writer who leaves its turn while
others wait for theirs leaves the commit to them, and each comes back only once its writes are durable. Nobody waits for
company: who is alone commits at once. A write that fails is undone alone, by its savepoint.

Nobody waits for long either: where another process has locked the database, the one who has found that out fails
together with all who stood in line meanwhile, instead of each of them finding it out anew.

Knows SQLite's transactions; knows nothing of what is written. Any thread may write; marks that come over HTTP are all
written by one, which is one writer among these (see BatchWriter).
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from server_proc.database_errors import DatabaseBusyError, translate, translated_errors
from server_proc.fault_points import reach
from server_proc.schema import BUSY_TIMEOUT_S

MAX_GROUP = 128
# From standing in line until writing begins. Longer, and writers who hold every thread there is would look like a hang.
PATIENCE_S = 3.0


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
        self._times_locked = 0
        self._is_closed = False

    @contextmanager
    def write(self, patience_s: float = PATIENCE_S) -> Iterator[Transaction]:
        """Run a block as one transaction: durable when the block has been left, undone if it raises.

        Raises DatabaseError, in which case nothing was stored. `patience_s` bounds the wait before the block.
        """
        times_locked, give_up_s = self._times_locked, time.monotonic() + patience_s
        self._take_turn(patience_s)
        try:
            transaction = Transaction(self._connection)
            with translated_errors():
                group = self._join(times_locked, give_up_s)
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
        self._take_turn(PATIENCE_S)
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

    def _take_turn(self, patience_s: float) -> None:
        with self._line_lock:
            self._in_line += 1
        has_turn = self._turn.acquire(timeout=patience_s)
        with self._line_lock:
            self._in_line -= 1
            # Who left just now may have left the commit to this writer.
            has_turn = has_turn or self._turn.acquire(blocking=False)
        if not has_turn:
            raise DatabaseBusyError(f"another write has been under way for {patience_s:g} s")

    def _leave_turn(self) -> None:
        with self._line_lock:  # looks and leaves in one, for the sake of those in line who give up
            group = self._group
            if group is None or (self._in_line and group.size < MAX_GROUP):
                self._turn.release()
                return
        try:
            self._commit()
        finally:
            self._turn.release()

    def _join(self, times_locked: int, give_up_s: float) -> _Group:
        """Take part in the group, or begin one; `times_locked` is from when this writer came."""
        self._require_open()
        if self._group is None:
            if self._times_locked != times_locked:
                raise DatabaseBusyError("another process has locked the database")
            self._begin(give_up_s - time.monotonic())
            self._group = _Group()
        elif self._group.size:
            self._connection.execute("SAVEPOINT writer")
        return self._group

    def _begin(self, patience_s: float) -> None:
        is_hasty = patience_s < BUSY_TIMEOUT_S
        if is_hasty:
            self._connection.execute(f"PRAGMA busy_timeout = {max(0, int(patience_s * 1000))}")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY and not is_hasty:
                self._times_locked += 1
            raise
        finally:
            if is_hasty:
                self._connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}")

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
