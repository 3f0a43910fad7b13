"""Bytes of a pipe to lines: partial lines wait for their end, endless ones are cut. Pure."""

from __future__ import annotations

MAX_LINE_BYTES = 64 << 10
"""A longer line is cut into pieces of this size, so that a child without newlines cannot fill our memory."""


class LineSplitter:
    """Cuts what is fed to it at newlines and keeps an unfinished rest."""

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_line_bytes = max_line_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that `data` completes, without their line ends."""
        *complete, rest = data.split(b"\n")
        if not complete:
            self._rest += rest
            return self._cut_rest()
        first = bytes(self._rest) + complete[0]
        self._rest = bytearray(rest)
        lines = [piece for line in (first, *complete[1:]) for piece in self._pieces(line)]
        return lines + self._cut_rest()

    def flush(self) -> list[bytes]:
        """Return the unfinished rest: nothing follows."""
        rest, self._rest = bytes(self._rest), bytearray()
        return self._pieces(rest) if rest else []

    def _cut_rest(self) -> list[bytes]:
        whole = len(self._rest) // self._max_line_bytes * self._max_line_bytes
        if not whole:
            return []
        cut = bytes(self._rest[:whole])
        del self._rest[:whole]
        return self._pieces(cut)

    def _pieces(self, line: bytes) -> list[bytes]:
        line = line.removesuffix(b"\r")
        size = self._max_line_bytes
        if len(line) <= size:
            return [line]
        return [line[start : start + size] for start in range(0, len(line), size)]
