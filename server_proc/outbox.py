"""The outbox: what the server has announced, in order, in the database; the message log of its ipc server.

A message is written in the transaction of what it announces, so epoch and seq survive this process. Knows nothing of
connections. Any thread may call: appends are ordered by the database's writer lock, reads take no lock.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from itertools import takewhile
from typing import cast

from ipc.limits import Limits
from ipc.protocol import Payload, check_size, encode_message, encode_payload
from ipc.sequence import Lapped
from ipc.sequence import Sequence as Tail
from server_proc.database import Database
from server_proc.database_errors import DatabaseUnusableError
from server_proc.many_rows import values
from server_proc.write_turn import Transaction

# What a client that was away is replayed; one that was away longer is told of the gap and asks for the state.
KEPT_MESSAGES = 100_000
KEPT_S = 30 * 24 * 3600.0
# One slice is one short write transaction, so that no mark waits for long behind it.
DROPPED_AT_ONCE = 500
TAIL_MESSAGES = 10_000
TAIL_BYTES = 8 << 20


class OutboxLog:
    """An ipc MessageLog on the outbox table.

    The newest messages are also kept in memory, encoded, bounded by count and bytes: a client that keeps up is served
    without SQL, one that was away longer is served from the table.
    """

    def __init__(
        self,
        database: Database,
        *,
        clock: Callable[[], float] = time.time,
        tail_messages: int = TAIL_MESSAGES,
        tail_bytes: int = TAIL_BYTES,
        on_committed: Callable[[int, Payload], None] | None = None,
    ) -> None:
        """`on_committed(seq, payload)` is called for each message once it is committed, in the order of seqs."""
        self._database = database
        self._clock = clock
        self._tail_messages = tail_messages
        self._tail_bytes = tail_bytes
        self._on_committed = on_committed
        self._max_frame_bytes = Limits().max_frame_bytes
        with database.read() as connection:
            epoch = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
            newest = _newest_in(connection)
            (oldest,) = connection.execute("SELECT min(seq) FROM outbox").fetchone()
        if epoch is None:
            raise DatabaseUnusableError("its epoch is missing")
        self._epoch = str(epoch[0])
        self._oldest = newest + 1 if oldest is None else oldest
        self._tail = Tail(newest)

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def oldest(self) -> int:
        return self._oldest

    @property
    def newest(self) -> int:
        return self._tail.newest

    def catch_up(self) -> None:
        """Take note of what another process has written, which must write no more. Raises DatabaseError."""
        with self._database.read() as connection:
            if _newest_in(connection) == self.newest:
                return  # as after any crash: a database that cannot be written now is no reason not to serve
        with self._database.write() as transaction:
            newest = _newest_in(transaction.connection)
            if newest != self.newest:
                transaction.after_commit(lambda: self._forget_tail(newest))

    def _forget_tail(self, newest: int) -> None:
        self._tail = Tail(newest)

    def append(self, payload: Payload) -> int:
        """Store a message that announces nothing but itself; return its seq. Raises PayloadError, DatabaseError."""
        with self._database.write() as transaction:
            return self.add(transaction, payload)

    def append_many(self, transaction: Transaction, payloads: Sequence[Payload]) -> Sequence[int]:
        """Do what `append` does for each payload, as part of `transaction`: work for a BatchWriter."""
        last_seq = self.add_many(transaction, payloads)
        return range(last_seq + 1 - len(payloads), last_seq + 1)

    def add(self, transaction: Transaction, payload: Payload) -> int:
        """Write a message as part of `transaction`; readers find it once that is committed. Returns its seq."""
        return self.add_many(transaction, [payload])

    def add_many(self, transaction: Transaction, payloads: Sequence[Payload]) -> int:
        """Write messages, at least one, as `add` does; return the seq of the last one."""
        encoded = [check_size(encode_payload(payload), self._max_frame_bytes) for payload in payloads]
        ts = self._clock()
        cursor = transaction.connection.execute(
            f"INSERT INTO outbox (ts, payload) VALUES {values(2, len(encoded))}",  # noqa: S608  placeholders
            [value for each in encoded for value in (ts, each.decode())],
        )
        last_seq = cast(int, cursor.lastrowid)  # None only before the first INSERT
        transaction.after_commit(partial(self._committed, last_seq + 1 - len(encoded), ts, payloads, encoded))
        return last_seq

    def read(self, after_seq: int, max_bytes: int) -> tuple[bytes, int]:
        """Return encoded messages after `after_seq` as a MessageLog does. Raises Lapped, DatabaseError."""
        if after_seq + 1 < self._oldest:
            raise Lapped
        try:
            return self._tail.read(after_seq, max_bytes)
        except Lapped:
            return self._read_table(after_seq, max_bytes)

    def drop_old(self) -> int:
        """Delete some of the messages that are more than KEPT_MESSAGES or older than KEPT_S; return how many.

        To be called until it returns 0. Raises DatabaseError.
        """
        with self._database.read() as connection:
            rows = connection.execute("SELECT seq, ts FROM outbox ORDER BY seq LIMIT ?", (DROPPED_AT_ONCE,)).fetchall()
        last_by_count, too_old = self.newest - KEPT_MESSAGES, self._clock() - KEPT_S
        doomed = list(takewhile(lambda row: row[0] <= last_by_count or row[1] < too_old, rows))
        if doomed:
            self._drop_through(doomed[-1][0])
        return len(doomed)

    def _drop_through(self, seq: int) -> None:
        # First, so that no reader looks for rows that are about to go.
        oldest, self._oldest = self._oldest, seq + 1
        try:
            with self._database.write() as transaction:
                transaction.connection.execute("DELETE FROM outbox WHERE seq <= ?", (seq,))
        except BaseException:
            self._oldest = oldest
            raise

    def _committed(self, first_seq: int, ts: float, payloads: Sequence[Payload], encoded: list[bytes]) -> None:
        for seq, (payload, encoded_payload) in enumerate(zip(payloads, encoded, strict=True), first_seq):
            if self._on_committed is not None:
                self._on_committed(seq, payload)
            self._keep(seq, encode_message(seq, ts, encoded_payload))

    def _keep(self, seq: int, encoded: bytes) -> None:
        """Add a committed message to the tail; called with the writer lock held, so in order."""
        tail = self._tail
        if seq != tail.newest + 1:  # never seen; but a tail with a hole would hand out wrong seqs for ever
            self._tail = tail = Tail(seq - 1)
        tail.push(encoded)
        while len(tail) > self._tail_messages or (tail.total_bytes > self._tail_bytes and len(tail) > 1):
            tail.drop_through(tail.oldest)

    def _read_table(self, after_seq: int, max_bytes: int) -> tuple[bytes, int]:
        # Up to the newest that is in the tail: a row that is committed but not yet in it would be sent before it
        # exists for `newest`.
        query = "SELECT seq, ts, payload FROM outbox WHERE seq > ? AND seq <= ? ORDER BY seq"
        batch: list[bytes] = []
        size_bytes = 0
        with (
            self._database.read() as connection,
            closing(connection.execute(query, (after_seq, self.newest))) as rows,
        ):
            for seq, ts, payload in rows:
                if seq != after_seq + len(batch) + 1:
                    break  # the rows before it went between the check and the read
                encoded = encode_message(seq, ts, payload.encode())
                if batch and size_bytes + len(encoded) > max_bytes:
                    break
                batch.append(encoded)
                size_bytes += len(encoded) + 1
        if not batch:
            raise Lapped
        return b"\n".join(batch), after_seq + len(batch)


def _newest_in(connection: sqlite3.Connection) -> int:
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'").fetchone()
    return int(row[0]) if row else 0
