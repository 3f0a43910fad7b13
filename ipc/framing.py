"""Frames as `multiprocessing.connection` writes them: a signed big-endian 32-bit length, then that many bytes. Pure."""

import struct

from ipc.errors import ProtocolError

_HEADER = struct.Struct(">i")
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
        self._buffer = bytearray(_INITIAL_BYTES)
        self._start = 0
        self._end = 0
        self._length: int | None = None  # of the frame that has begun, once its header is here

    @property
    def is_partial(self) -> bool:
        """True when the beginning of a frame has come and its end has not."""
        return self._end > self._start

    def space(self) -> memoryview:
        """Return where the next bytes go, never empty. Earlier bodies are no longer valid.

        Raises ProtocolError when the stream goes on with a length that no honest peer sends: the frames before it have
        been handed out by then.
        """
        if self._length is not None and not 0 < self._length <= self._max_frame_bytes:
            raise ProtocolError(
                "frame_length", f"a frame of {self._length} bytes; 1..{self._max_frame_bytes} are allowed"
            )
        held = self._end - self._start
        capacity = max(_INITIAL_BYTES, _HEADER.size + (self._length or 0))
        if capacity != len(self._buffer):
            resized = bytearray(capacity)
            resized[:held] = memoryview(self._buffer)[self._start : self._end]
            self._buffer, self._start, self._end = resized, 0, held
        elif self._start:
            self._buffer[:held] = self._buffer[self._start : self._end]
            self._start, self._end = 0, held
        return memoryview(self._buffer)[self._end :]

    def received(self, count: int) -> list[memoryview]:
        """Return the bodies that `count` more bytes complete, valid until the next `space()`."""
        self._end += count
        view = memoryview(self._buffer)
        bodies = []
        self._length = None
        while self._end - self._start >= _HEADER.size:
            (length,) = _HEADER.unpack_from(self._buffer, self._start)
            body_start = self._start + _HEADER.size
            if self._end - body_start < length or not 0 < length <= self._max_frame_bytes:
                self._length = length
                break
            self._start = body_start + length
            bodies.append(view[body_start : self._start])
        return bodies
