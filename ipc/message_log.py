"""The message log: what the server has said, numbered, and for how long it can say it again. Pure.

A connected client is a cursor into this log. `MemoryLog` lives and dies with its process; another log behind the same
protocol may live in a database.
"""

import time
from collections.abc import Callable
from typing import Protocol
from uuid import uuid4

from ipc.limits import Limits
from ipc.protocol import ENVELOPE_BYTES, Payload, Resume, check_size, encode_payload, encode_stamped_message
from ipc.sequence import Sequence


class MessageLog(Protocol):
    """What a `SocketServer` needs of a log. `append` is called by one thread at a time, `read` by any number."""

    @property
    def epoch(self) -> str:
        """Names this log's numbering: seqs of two epochs have nothing to do with each other."""

    @property
    def oldest(self) -> int:
        """The oldest seq that can be replayed; `newest + 1` when there is none."""

    @property
    def newest(self) -> int:
        """The newest seq; 0 before the first append."""

    def append(self, payload: Payload) -> int:
        """Encode and keep a message; return its seq. Raises PayloadError, and then keeps nothing."""

    def read(self, after_seq: int, max_bytes: int) -> tuple[bytes, int]:
        """Return encoded messages after `after_seq`, joined by newlines, and the seq of the last one.

        At least one message if there is one; `(b"", after_seq)` if there is none. Raises Lapped.
        """


def starting_point(log: MessageLog, resume: Resume | None) -> tuple[int, bool]:
    """Return the cursor of a client that has just come, and whether it goes on where it was.

    One that was here before, in another epoch, is given all there is of this one: it has seen none of it. A newcomer
    gets what is said from now on, and asks the application for the state so far.
    """
    if resume is None:
        return log.newest, False
    if resume.epoch == log.epoch and resume.seq <= log.newest:
        return resume.seq, True
    return 0, False


class MemoryLog(Sequence):
    """A message log in memory, bounded by count and bytes: the oldest messages make room for new ones."""

    def __init__(
        self, limits: Limits | None = None, *, clock: Callable[[], float] = time.time, epoch: str | None = None
    ) -> None:
        super().__init__()
        self.epoch = epoch or uuid4().hex
        self._limits = limits or Limits()
        self._clock = clock
        self._tick, self._tick_text = -1, b""

    def append(self, payload: Payload) -> int:
        limits = self._limits
        encoded = encode_payload(payload)
        if len(encoded) > limits.max_frame_bytes - ENVELOPE_BYTES:
            check_size(encoded, limits.max_frame_bytes)
        tick = int(self._clock() * 10_000)
        if tick != self._tick:  # formatting a float costs more than the rest of a message's envelope
            self._tick, self._tick_text = tick, b"%.4f" % (tick / 10_000)
        seq = self.push(encode_stamped_message(self.newest + 1, self._tick_text, encoded))
        if seq - self.oldest >= limits.log_messages or self.total_bytes > limits.log_bytes:
            self._make_room()
        return seq

    def _make_room(self) -> None:
        """Drop a little more than must be, so that this is rare."""
        limits = self._limits
        if len(self) > limits.log_messages:
            self.drop_through(self.newest - limits.log_messages + limits.log_messages // 64)
        while self.total_bytes > limits.log_bytes and len(self) > 1:
            self.drop_through(self.oldest + len(self) // 64)
