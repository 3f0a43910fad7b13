"""Writes what many ask for in one transaction, so that one commit, and one wait for the disk, serves all who wait.

Owns a thread, and the line of what is to be written. Nobody waits for company: what is alone is written at once, and
what comes meanwhile is the next batch. Who asks gets a future, and need not keep a thread waiting for it. Knows
transactions; knows nothing of what is written.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from itertools import groupby
from operator import attrgetter
from typing import Any, TypeVar

import structlog

from server_proc.database_errors import DatabaseBusyError, DatabaseError, DatabaseFullError
from server_proc.write_turn import Transaction

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_BATCH = 128

Work = Callable[[Transaction, Sequence[Item]], Sequence[Result | Exception]]
"""Writes items in a transaction and returns what became of each: a result, or the exception of whose item it was."""
Note = Callable[[Result | Exception], None]
"""Takes note of what became of an item that has been written, or could not be."""

log = structlog.get_logger()


class _Entry:
    """One item in line, and what became of it."""

    def __init__(self, work: Work[Any, Any], item: object, size: int, note: Note[Any] | None) -> None:
        self.work = work
        self.item = item
        self.size = size
        self.note = note
        self.future: Future[Any] = Future()
        self.outcome: Any = None

    def finish(self) -> None:
        if self.note is not None:
            try:
                self.note(self.outcome)
            except Exception:  # it is written, or not, whatever becomes of the note
                log.exception("outcome_not_noted")
        if isinstance(self.outcome, Exception):
            self.future.set_exception(self.outcome)
        else:
            self.future.set_result(self.outcome)


class BatchWriter:
    """`transaction` is what writes: a block in it is durable when it has been left, and undone if it raises."""

    def __init__(self, transaction: Callable[[], AbstractContextManager[Transaction]]) -> None:
        self._transaction = transaction
        self._line: deque[_Entry] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def submit(
        self, work: Work[Item, Result], item: Item, size: int = 1, note: Note[Result] | None = None
    ) -> Future[Result]:
        """Have an item written by `work`, together with those for the same work that are next in line.

        The future has its result once that is durable. Or an exception, DatabaseError if nothing could be stored, and
        then nothing was. Until the work has begun the future can be cancelled. Where work raises, it is undone and done
        again for each item by itself. Callbacks of the future run on the thread that writes. `size`: how many rows it
        is about, so that no transaction holds up the others for long. `note` is called with what became of the item,
        on that thread too, before the future has it: unlike a callback, which runs while others read the result.
        """
        entry = _Entry(work, item, size, note)
        with self._changed:
            if self._is_closed:
                entry.future.set_exception(DatabaseBusyError("the database has been closed"))
                return entry.future
            while self._line and self._line[0].future.cancelled():  # while a disk hangs nobody else takes them out
                self._line.popleft()
            self._line.append(entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="batch-writer", daemon=True)
                self._thread.start()
            self._changed.notify()
        return entry.future

    def close(self, patience_s: float) -> None:
        """Write what is in line and end the thread, within `patience_s`."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(patience_s)

    def _run(self) -> None:
        while self._wait():
            self._write()

    def _wait(self) -> bool:
        """Wait for work; False when there will be none."""
        with self._changed:
            while not self._line and not self._is_closed:
                self._changed.wait()
            return bool(self._line)

    def _take(self, max_size: float) -> list[_Entry]:
        """Take what is next in line: so much that its sizes add up to `max_size`, or a little more."""
        taken: list[_Entry] = []
        size = 0
        with self._changed:
            while self._line and size < max_size:
                taken.append(self._line.popleft())
                size += taken[-1].size
        return [entry for entry in taken if entry.future.set_running_or_notify_cancel()]

    def _write(self, taken: list[_Entry] | None = None) -> None:
        """Write in one transaction what was taken, else what is in line once that has begun; tell who waits for it."""
        is_done = False
        try:
            with self._transaction() as transaction:
                if taken is None:
                    taken = self._take(MAX_BATCH)
                for work, group in groupby(taken, key=attrgetter("work")):
                    _do(work, list(group), transaction)
                is_done = True
        except Exception as error:  # noqa: BLE001 - those who asked are told
            if taken is None:  # it could not even begin: so nobody who waits for it by now can
                taken = self._take(math.inf)
            # What fails after the work may have been committed: done again it would be there twice.
            elif not is_done and len(taken) > 1 and not isinstance(error, DatabaseBusyError | DatabaseFullError):
                for entry in taken:
                    self._write([entry])
                return
            for entry in taken:
                entry.outcome = _another(error) if isinstance(error, DatabaseError) else error
        for entry in taken:
            entry.finish()


def _do(work: Work[Any, Any], entries: list[_Entry], transaction: Transaction) -> None:
    outcomes = work(transaction, [entry.item for entry in entries])
    for entry, outcome in zip(entries, outcomes, strict=True):
        entry.outcome = outcome


def _another(error: DatabaseError) -> DatabaseError:
    """Return an error for one more who is told: each raises it in its own thread."""
    another = type(error)(str(error))
    another.__cause__ = error.__cause__ or error
    return another
