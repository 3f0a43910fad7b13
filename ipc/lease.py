"""The right to read from a client's connection, lent to callers who ask one request after the other.

A reply that the client's own thread reads has to be handed to the caller: two threads take turns at the interpreter for
it, which costs more than the whole way to the server and back. So after a reply to somebody who waits, the client's
thread lends out the right to read for a moment. A caller who asks again within that moment reads its own reply. What
else it finds it hands back: handlers stay on the client's thread, and everything is handled in the order in which it
came. When nobody has asked for a moment, the thread reads on as ever.
"""

import threading
from collections.abc import Callable

from ipc.connection import Connection
from ipc.errors import ProtocolError
from ipc.locks import let_go
from ipc.protocol import FromServer, ObjectDecoder, Reply

MOMENT_S = 0.001

Frames = list[list[FromServer]]


class Lease:
    """`is_out` while callers may read. Whoever holds `_reading` may receive and decode; the client's thread does, or
    one caller.

    `on_reply(reply)` is called, on the caller's thread, with a reply that a caller has read for itself;
    `is_awaited(number)` tells whether the reply to a request is still to come.
    """

    def __init__(self, on_reply: Callable[[Reply], None], is_awaited: Callable[[int], bool]) -> None:
        self.is_out = False
        self._on_reply = on_reply
        self._is_awaited = is_awaited
        self._reading = threading.Lock()
        self._bell = threading.Lock()  # rung by releasing it: there is something for the client's thread to do
        self._bell.acquire()
        self._was_used = False
        self._found: Frames = []
        self._error: ProtocolError | None = None

    def begin(self, connection: Connection, decoder: ObjectDecoder[FromServer]) -> None:
        """Take up a new connection. What was found on the last one comes again, if it matters."""
        self._connection, self._decoder = connection, decoder
        self._found = []
        self._error = None

    def lend(self) -> Frames:
        """Let callers read until none has for a moment; return what they have found that is not theirs.

        On the client's thread, which must not read meanwhile. Raises what their reading met, once nothing is left.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        self._was_used = self.is_out = True
        while self._was_used:
            self._was_used = False
            if self._bell.acquire(timeout=MOMENT_S):
                break
        self.is_out = False
        with self._reading:  # a caller in the middle of it finishes
            self._bell.acquire(blocking=False)
            found, self._found = self._found, []
        return found

    @property
    def has_failed(self) -> bool:
        """True when the next `lend` raises."""
        return self._error is not None

    def read_reply(self, number: int) -> None:
        """Read, for a few milliseconds at most, what may be the reply to request `number`.

        If it is the next to come, `on_reply` has it when this returns. All else goes to the client's thread.
        """
        is_ours = None
        try:
            is_ours = self._reading.acquire(blocking=False)
            if not is_ours:
                return
            # The client's thread may have had the reply before it lent. Now that nobody else reads, that cannot change.
            if self.is_out and not self._found and self._is_awaited(number):
                self._was_used = True
                self._read(number)
        except ProtocolError as error:
            self._error = error
            self._ring()
        except BaseException:  # of a signal handler: what was read is not known, and comes again on a new connection
            self._connection.shutdown()
            if is_ours is None:
                let_go(self._reading)
            self._ring()
            raise
        finally:
            if is_ours:
                self._reading.release()

    def _read(self, number: int) -> None:
        bodies = self._connection.receive(soon=True)
        if not bodies:
            self._ring()  # silence, or the end: the client's thread judges it
            return
        try:
            self._found.extend(self._decoder.decode_frames(bodies))
        finally:
            reply = _only_object(self._found)
            if isinstance(reply, Reply) and reply.id == number:
                self._found = []
                self._on_reply(reply)
            else:
                self._ring()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has been rung, and nobody has heard it yet


def _only_object(frames: Frames) -> FromServer | None:
    return frames[0][0] if len(frames) == 1 and len(frames[0]) == 1 else None
