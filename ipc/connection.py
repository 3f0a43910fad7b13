"""One authenticated connection: bytes out from any thread, bytes in on one. Knows frames and cursors, no meanings.

Sending. Whoever has news calls `flush()`. If the connection is free, that thread sends what there is without ever
waiting. If the socket is full, the connection's own writer thread takes over, waits, and sends all that has come up
since in large frames. At every moment one of the two holds the send lock, and whoever lets go of it looks again for
news that came meanwhile, so none is forgotten.

Receiving. The thread that created the connection calls `receive()`, and it alone closes the socket, at the end of
`close()`: closing a descriptor under another thread's feet can hand that thread a stranger's bytes.
"""

import collections
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from ipc.errors import ProtocolError
from ipc.framing import FrameDecoder, frame
from ipc.limits import Limits
from ipc.locks import let_go
from ipc.sequence import Lapped

_ROUNDS_IN_CALLERS_THREAD = 16
_FIRST_BATCH_BYTES = 4 << 10
_DONTWAIT = int(socket.MSG_DONTWAIT)
_FRAMES_AT_ONCE = 8
_BYTES_AT_ONCE = 512 << 10
_FEW_CONTROL_FRAMES = 8
_SEND_BUFFER_BYTES = 1 << 20
_SOON_S = 0.005
LAST_WORDS_S = 0.05
"""How long somebody who is sending to a peer just now may go on before it is hung up on."""


class Source(Protocol):
    """Where messages to send are read from: a message log, or a client's outbox."""

    @property
    def oldest(self) -> int: ...

    @property
    def newest(self) -> int: ...

    def read(self, after: int, max_bytes: int, /) -> tuple[bytes, int]: ...


class _SourceFailed(Exception):
    """A source could not be read: a log on disk may fail."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class Counters:
    """What went through one connection: messages, requests and replies; all bytes. One thread writes a figure."""

    __slots__ = ("received", "received_bytes", "sent", "sent_bytes")

    def __init__(self) -> None:
        self.sent = 0
        self.sent_bytes = 0
        self.received = 0
        self.received_bytes = 0

    def add(self, other: "Counters") -> None:
        """Add another connection's figures."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Connection:
    """A connected socket with a cursor into `source`: everything after the cursor is sent, in order, once.

    `silent_beats` counts the heartbeat times that have passed since the last byte came.
    `on_sent(encoded, count)` is called with the messages and replies that go out as they are counted, in the sending
    thread;
    `on_skipped(first, last)` when the source has forgotten what the cursor stood before, or a message is too large for
    the peer, whose limit is `max_frame_bytes`; it returns the control object to send in its place, or nothing.
    """

    def __init__(
        self,
        sock: socket.socket,
        source: Source,
        cursor: int,
        limits: Limits,
        on_sent: Callable[[bytes, int], None],
        on_skipped: Callable[[int, int], bytes],
        max_frame_bytes: int,
    ) -> None:
        self.cursor = cursor
        self.counters = Counters()
        self._socket = sock
        self._source = source
        self._limits = limits
        self._on_sent = on_sent
        self._on_skipped = on_skipped
        self._max_frame_bytes = min(limits.max_frame_bytes, max_frame_bytes)
        self._most_batch_bytes = min(limits.batch_bytes, self._max_frame_bytes)
        # Small at first: a frame that the connection breaks in the middle of has to be sent again on the next, which
        # would never get on if it breaks as soon and all that it lags by were one frame.
        self._batch_bytes = min(_FIRST_BATCH_BYTES, self._most_batch_bytes)
        self._control: collections.deque[tuple[bytes, int]] = collections.deque()
        self._send_lock = threading.Lock()
        self._has_news = False
        self._is_blocked = False
        self._unsent: memoryview | bytes = b""
        self._writer: threading.Thread | None = None
        self._writer_wake = threading.Semaphore(0)
        self._caught_up = threading.Event()
        self._is_closed = False
        self._decoder = FrameDecoder(limits.max_frame_bytes)
        self._frame_began_at: float | None = None
        self.silent_beats = 0
        self._is_impatient = False
        _prepare(sock)
        self._set_patience(limits.heartbeat_s)

    # -- sending, from any thread ----------------------------------------------------------------------------------

    def send_control(self, encoded: bytes, *, messages: int = 0) -> bool:
        """Queue an object ahead of what the source has, and send it if possible; False when too many wait.

        `messages` is how much it adds to the count of messages sent: 1 for a reply.
        """
        waiting = self._control
        if len(waiting) >= _FEW_CONTROL_FRAMES and not self._has_room_for_control():
            return False
        waiting.append((encoded, messages))
        self.flush()
        return True

    @contextmanager
    def first(self, encoded: bytes) -> Iterator[None]:
        """Send nothing until the block is over, then `encoded` before anything else."""
        with self._send_lock:
            yield
            self._control.appendleft((encoded, 0))
        self.flush()

    @property
    def queue(self) -> int:
        """How many control objects wait to be sent."""
        return len(self._control)

    def flush(self) -> None:
        """Send what there is to send, as far as the socket takes it now. Never waits."""
        self._has_news = True
        rounds = 0
        while self._has_news and not self._is_blocked:
            is_ours = None
            try:
                is_ours = self._send_lock.acquire(blocking=False)
                if not is_ours:
                    return
                self._has_news = False
                rounds += 1
                if rounds > _ROUNDS_IN_CALLERS_THREAD:
                    self._leave_to_writer()  # other threads keep bringing news; this one has its own work to do
                else:
                    self._send_now()
            except _SourceFailed as failed:
                raise failed.error from failed.error.__cause__  # nothing has changed
            except BaseException:
                self._give_up(is_ours)
                raise
            finally:
                if is_ours:
                    self._send_lock.release()

    def _give_up(self, is_ours: bool | None) -> None:
        """End the connection after an exception from anywhere, as of a signal handler: what has gone out is not known.

        The peer comes again and is sent the rest.
        """
        self.shutdown()
        if is_ours is None:
            let_go(self._send_lock)

    def shut_down_after(self, last_words: bytes, patience_s: float = LAST_WORDS_S) -> None:
        """Send `last_words` if the socket takes them within `patience_s`, then end the connection."""
        self.send_control(last_words)
        if self._send_lock.acquire(timeout=patience_s):  # whoever is sending just now has not seen them
            self._send_lock.release()
            self.flush()
        self.shutdown()

    def shutdown(self) -> None:
        """End the connection: `receive()` returns None, senders fail. The owner thread then closes it."""
        self._is_closed = True
        hang_up(self._socket)

    def wait_until_sent(self, timeout_s: float) -> bool:
        """Wait until the writer thread has caught up; True at once if it has nothing to do."""
        return not self._is_blocked or self._caught_up.wait(timeout_s)

    def _send_now(self) -> None:
        """Send frame after frame without waiting. The send lock is held."""
        while body := self._next_body():
            pending = frame(body)
            try:
                sent = self._socket.send(pending, _DONTWAIT)
            except BlockingIOError:
                sent = 0
            except OSError:
                return  # the reader sees the end of the connection too, and cleans up
            self.counters.sent_bytes += sent
            if sent < len(pending):
                self._unsent = memoryview(pending)[sent:]
                self._leave_to_writer()
                return
            if not self._control and self.cursor >= self._source.newest:
                return  # what comes from here on is news

    def _leave_to_writer(self) -> None:
        assert self._send_lock.locked()
        if self._is_closed:
            return
        self._caught_up.clear()
        self._is_blocked = True
        if self._writer is None:
            writer = threading.Thread(target=self._write, name=f"{threading.current_thread().name}-writer")
            writer.daemon = True
            try:
                writer.start()
            except RuntimeError:  # no more threads: the peer comes again and is sent the rest
                self.shutdown()
                self._caught_up.set()
                return
            self._writer = writer
        self._writer_wake.release()

    def _write(self) -> None:
        """Body of the writer thread: each time it is woken, send until nothing is left."""
        while self._writer_wake.acquire() and not self._is_closed:
            with self._send_lock:
                try:
                    self._send_patiently()
                except Exception:  # noqa: BLE001 - the peer is gone; or a log on disk fails, and the peer asks again
                    self.shutdown()
                    return
                self._is_blocked = False
            self._caught_up.set()
            if self._has_news:
                self.flush()

    def _send_patiently(self) -> None:
        assert self._send_lock.locked()
        pending: memoryview | bytes = self._unsent
        frames = 1
        while pending or (pending := self._next_frames(frames)):
            self._socket.sendall(pending)
            self.counters.sent_bytes += len(pending)
            pending = b""
            frames = min(2 * frames, _FRAMES_AT_ONCE)
        self._unsent = b""

    def _next_frames(self, count: int) -> bytes:
        """Return up to `count` frames, or fewer where they are large: a peer that stops reading keeps them in memory.

        While another thread broadcasts without a pause, each call that lets go of the interpreter lock waits for it for
        a switch interval, 5 ms: what one call sends bounds what a second carries.
        """
        frames: list[bytes] = []
        most = min(count, max(1, _BYTES_AT_ONCE // self._most_batch_bytes))
        while len(frames) < most and (body := self._next_body()):
            frames.append(frame(body))
        return b"".join(frames)

    def _next_body(self) -> bytes:
        """Return the next frame's content: what control there is, else messages after the cursor, else nothing."""
        while not self._control:
            after = self.cursor
            try:
                body, cursor = self._source.read(after, self._batch_bytes)
                while len(body) > self._max_frame_bytes:  # one message, which this peer does not take
                    after += 1
                    body, cursor = self._source.read(after, self._batch_bytes)
            except Lapped:
                after = self._source.oldest - 1
            except Exception as error:
                raise _SourceFailed(error) from error
            else:
                if after == self.cursor:
                    if body:
                        self._batch_bytes = min(2 * self._batch_bytes, self._most_batch_bytes)
                        count = cursor - after
                        self.cursor = cursor
                        self.counters.sent += count
                        self._on_sent(body, count)
                    return body
            if notice := self._skip(after):
                return notice
        return self._take_control()

    def _skip(self, last: int) -> bytes:
        """Pass over what cannot be sent, as one run; return what there is to say about it."""
        first = self.cursor + 1
        self.cursor = last
        return self._on_skipped(first, last)

    def _take_control(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        while not parts or (self._control and size + len(self._control[0][0]) < self._batch_bytes):
            encoded, messages = self._control.popleft()
            if messages:
                self.counters.sent += messages
                self._on_sent(encoded, messages)
            parts.append(encoded)
            size += len(encoded) + 1
        return b"\n".join(parts)

    def _has_room_for_control(self) -> bool:
        waiting = list(self._control)
        size = sum(len(encoded) for encoded, _ in waiting)
        return len(waiting) < self._limits.control_frames and size < self._limits.control_bytes

    # -- receiving, on the owner's thread ---------------------------------------------------------------------------

    def receive(self, *, soon: bool = False) -> list[memoryview] | None:
        """Wait for bytes; return the frame bodies they complete, valid until the next call, or None at the end.

        An empty list when nothing has come for the heartbeat time, or, with `soon`, for a few milliseconds. Raises
        ProtocolError for a bad length, or for a frame that has taken too long to come.
        """
        space = self._decoder.space()
        if self._frame_began_at is None and self._decoder.is_partial:
            self._frame_began_at = time.monotonic()  # not before: meanwhile we were busy with what came in front of it
        if soon and not self._is_impatient:
            self._set_patience(_SOON_S)
        try:
            count = self._socket.recv_into(space)
        except BlockingIOError:
            self._after_silence(soon)
            return []
        except OSError:
            return None
        if count == 0:
            return None
        self.silent_beats = 0
        self.counters.received_bytes += count
        bodies = self._decoder.received(count)
        if bodies or not self._decoder.is_partial:
            self._frame_began_at = None
        else:
            self._check_frame_deadline()
        return bodies

    def _after_silence(self, soon: bool) -> None:
        """Note that nothing has come for as long as we were willing to wait."""
        if not self._is_impatient:
            self.silent_beats += 1
        elif not soon:
            self._set_patience(self._limits.heartbeat_s)
        self._check_frame_deadline()

    def _set_patience(self, silence_s: float) -> None:
        """Have `recv` come back after `silence_s` without a byte: the kernel waits, and no call is spent on it.

        Impatience is kept up until it meets a silence with nothing to be soon for: then changing it is rare.
        """
        self._is_impatient = silence_s == _SOON_S
        whole_s = int(silence_s)
        timeout = struct.pack("ll", whole_s, int((silence_s - whole_s) * 1e6))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeout)

    def _check_frame_deadline(self) -> None:
        began_at = self._frame_began_at
        if began_at is not None and time.monotonic() - began_at > self._limits.frame_s:
            raise ProtocolError("frame_timeout", f"a frame was not complete after {self._limits.frame_s} s")

    def close(self) -> None:
        """Give everything back: the writer thread, then the descriptor. The owner thread calls it, last of all."""
        self.shutdown()
        with self._send_lock:
            writer = self._writer  # made and started under the lock, and never any more from here on
        self._writer_wake.release()
        if writer is not None:
            writer.join()
        with self._send_lock:
            self._socket.close()
        self._caught_up.set()
        self._decoder.release()  # peer and connection refer to each other, and wait for the garbage collector


def hang_up(sock: socket.socket) -> None:
    """End a connection from any thread: whoever waits on the socket wakes up. The descriptor stays its owner's."""
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the peer was faster, or the owner has closed it already


def _prepare(sock: socket.socket) -> None:
    """Make a socket as the rest of this module wants it, whatever came before."""
    sock.setblocking(True)  # the handshake, or socket.setdefaulttimeout, may have left something else
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
