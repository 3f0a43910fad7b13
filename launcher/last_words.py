"""What a process said last: its latest lines, and the dump of its threads, for the report about its death.

Owns one process's latest lines, within bounds. Must not know why it died. Pure. Supervisor's thread.
"""

from __future__ import annotations

import re
from collections import deque

MAX_LINES = 200
_MAX_LINE_BYTES = 16 << 10
_MAX_BYTES = 1 << 20
_MAX_DUMP_LINES = 2000
_MAX_DUMP_BYTES = 1 << 20
_FATAL = b"Fatal Python error: "
# What faulthandler writes after that; other threads may be printing meanwhile.
_DUMP_LINE = re.compile(
    rb"""\s*(Current\ thread\ 0x|Thread\ 0x|File\ "|<|\.\.\.|Binary\ file\ "|Extension\ modules:|"""
    rb"""Python\ runtime\ state:|Current\ thread's\ C\ stack|Garbage-collecting)""",
    re.VERBOSE,
)


class LastWords:
    """The latest lines of one process, each cut to a readable length, and the last dump among all its lines.

    A dump is kept once: of hundreds of frames it would leave no room for what the process said before.
    """

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        self._dump: list[bytes] = []
        self._bytes_since_dump = 0

    def note(self, lines: list[bytes]) -> int:
        """Take lines in the order in which they were written.

        Returns how many of them came before a dump, which is all if there is none. Whatever follows is of interest,
        for so long as a dump may take.
        """
        before = 0 if 0 < self._bytes_since_dump < _MAX_DUMP_BYTES else len(lines)
        frames: set[int] = set()
        for number, line in enumerate(lines):
            if _FATAL in line:
                if not self._dump:  # the first one, or a child could have all its lines kept for ever
                    before = number
                self._dump = [line[line.index(_FATAL) :]]
            elif self._dump and len(self._dump) < _MAX_DUMP_LINES and _DUMP_LINE.match(line):
                self._dump.append(line)
                frames.add(number)
        said = [line for number, line in enumerate(lines) if number not in frames] if frames else lines
        self._keep([line[:_MAX_LINE_BYTES] for line in _last(said)])
        if self._dump:
            self._bytes_since_dump += sum(map(len, lines[before:]))
        return before

    @property
    def lines(self) -> tuple[bytes, ...]:
        """The latest lines, the last one last."""
        return tuple(self._lines)

    @property
    def dump(self) -> tuple[bytes, ...]:
        """The lines of the dump; none if there was no dump."""
        return tuple(self._dump)

    def _keep(self, lines: list[bytes]) -> None:
        self._lines.extend(lines)
        self._bytes += sum(map(len, lines))
        while len(self._lines) > MAX_LINES or self._bytes > _MAX_BYTES:
            self._bytes -= len(self._lines.popleft())


def latest(lines: list[bytes]) -> list[bytes]:
    """Return the last of the lines that are not blank: as many as are kept, and no more bytes than that."""
    last = _last(lines)
    excess_bytes = sum(map(len, last)) - _MAX_BYTES
    while excess_bytes > 0:
        excess_bytes -= len(last.pop(0))
    return last


def _last(lines: list[bytes]) -> list[bytes]:
    last = [line for line in lines[-2 * MAX_LINES :] if line.strip()]
    if len(last) < MAX_LINES < len(lines):
        last = [line for line in lines if line.strip()]  # mostly blank lines: look at all of them
    return last[-MAX_LINES:]
