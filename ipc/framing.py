"""Frames as `multiprocessing.connection` writes them: a signed big-endian 32-bit length, then that many bytes. Pure."""

import struct

from ipc.errors import ProtocolError

_HEADER = struct.Struct(">i")
_unpack = _HEADER.unpack_from
_INITIAL_BYTES = 64 << 10


def frame(body: bytes) -> bytes:
    """Return `body` with its length in front."""
    return _HEADER.pack(len(body)) + body


class FrameDecoder:
    """Cuts a byte stream into frames.

    The caller receives into `space()` and says how much came with `received(n)`. Memory is bounded by one frame of
    `max_frame_bytes`, and is taken only once the length in front of it has been found good.
    """

    def __init__(self, max_frame_bytes: int) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._view = memoryview(bytearray(_INITIAL_BYTES))
        self.is_partial = False  # the beginning of a frame has come and its end has not
        self._start = 0
        self._end = 0
        self._length: int | None = None  # of the frame that has begun, once its header is here

    def space(self) -> memoryview:
        """Return where the next bytes go, never empty. Earlier bodies are no longer valid.

        Raises ProtocolError when the stream goes on with a length that no honest peer sends: the frames before it have
        been handed out by then.
        """
        if self._start == self._end and len(self._view) == _INITIAL_BYTES:
            self._start = self._end = 0
            return self._view
        self._make_room()
        return self._view[self._end :]

    def release(self) -> None:
        """Give the buffer back. Nothing can be received any more."""
        self._view = memoryview(b"")

    def _make_room(self) -> None:
        """Move what is held to the beginning of a buffer that the frame it belongs to fits into."""
        length = self._length or 0
        if self._length is not None and not 0 < length <= self._max_frame_bytes:
            raise ProtocolError("frame_length", f"a frame of {length} bytes; 1..{self._max_frame_bytes} are allowed")
        held = self._view[self._start : self._end]
        capacity = max(_INITIAL_BYTES, _HEADER.size + length)
        if capacity != len(self._view):
            self._view = memoryview(bytearray(capacity))
        self._view[: len(held)] = held
        self._start, self._end = 0, len(held)

    def received(self, count: int) -> list[memoryview]:
        """Return the bodies that `count` more bytes complete, valid until the next `space()`."""
        view, start, end = self._view, self._start, self._end + count
        bodies = []
        self._length = None
        while end - start >= 4:
            (length,) = _unpack(view, start)
            body_start = start + 4
            if end - body_start < length or not 0 < length <= self._max_frame_bytes:
                self._length = length
                break
            start = body_start + length
            bodies.append(view[body_start:start])
        self._start, self._end = start, end
        self.is_partial = end > start
        return bodies
