"""The one log of the tree: the launcher's own events, and every line that a child writes.

Owns the merging and where the lines go: the writers, the ring of the latest, each process's last words. Must not know
child states or restarts. The lines of children come on the supervisor's thread, our own events on any; nothing
here depends on a disk or a terminal before `close`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import structlog

from launcher.dropped_lines import DroppedLines
from launcher.last_words import MAX_LINES, LastWords, latest
from launcher.log_events import LEVELS, Event, Origin, decode, events_of, to_line, utc_now
from launcher.log_ring import LogRing
from launcher.log_share import Share
from launcher.log_writer import RESERVE_BYTES, LogWriter, close_all
from launcher.redaction import Redactor


class LogPipeline:
    """Turns events and child lines into JSON lines and hands them to every writer."""

    def __init__(self, run_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.ring = LogRing()
        self._run_id = run_id
        self._clock = clock
        self._own = Origin("launcher", os.getpid())
        self._writers: tuple[LogWriter, ...] = ()
        self._redactor = Redactor()
        self._least_level = LEVELS["debug"]
        self._shares: dict[str, Share] = {}
        self._last_words: dict[Origin, LastWords] = {}
        self._departed = self._own
        self._dropped = DroppedLines(self._say_dropped)
        self._order = threading.Lock()  # every output has the lines in the same one
        self._waiting: dict[Origin, list[bytes]] = {}  # the latest lines of a flood: not kept, and not dropped yet

    def start(self, writers: Iterable[LogWriter]) -> None:
        """Start the writers; from now on lines go somewhere."""
        self._writers = tuple(writers)
        for writer in self._writers:
            writer.start()

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for `timeout_s` at most."""
        while self._waiting:
            origin, lines = self._waiting.popitem()
            self._dropped.add(origin, len(lines))
        self._dropped.say()
        close_all(self._writers, timeout_s)

    def hide(self, *secrets: bytes) -> None:
        """Let none of these values into the log, however it is spelt."""
        self._redactor = Redactor(secrets)

    def child_lines(self, origin: Origin, lines: list[bytes], *, are_last: bool = False) -> None:
        """Log what a child wrote. Beyond its share of the log its lines are counted, except for its last ones.

        Which ones are the last is known only when it dies or dumps its threads. Until then the latest of those that
        had no room wait, before whatever it says next.
        """
        if not lines and not are_last:
            return
        for writer in self._writers:
            writer.give_way()
        before_dump = self.last_words(origin).note(lines)
        dump = lines[before_dump:]
        said = [*self._waiting.pop(origin, ()), *lines[:before_dump]]
        kept = self._admitted(origin, said, are_last=are_last or bool(dump))
        if kept or dump or are_last:
            self._dropped.say()
        if are_last:
            self._last_words.pop(self._departed, None)
            self._departed = origin
        if are_last or dump:
            self._put(self._merged(origin, kept[:-MAX_LINES]))
            self._put(self._merged(origin, [*kept[-MAX_LINES:], *dump]), RESERVE_BYTES // 2)
        else:
            self._put(self._merged(origin, kept))

    def _admitted(self, origin: Origin, lines: list[bytes], *, are_last: bool) -> list[bytes]:
        """Return the lines to keep. The others are counted, but for the latest, which wait if there may be more."""
        share = self._shares.setdefault(origin.proc, Share())
        kept = share.admitted(lines, self._clock(), are_last=are_last)
        if kept is lines:
            return kept
        left_out = sum(1 for line in lines if line.strip()) - len(kept)
        if not are_last:
            are_kept = set(kept)  # all that are equal, or none
            self._waiting[origin] = latest([line for line in lines if line not in are_kept])
            left_out -= len(self._waiting[origin])
        self._dropped.add(origin, left_out)
        return kept

    def last_words(self, origin: Origin) -> LastWords:
        """Return what a process said last, which is there until another one is gone too. Supervisor's thread."""
        return self._last_words.setdefault(origin, LastWords())

    def told(self, origin: Origin, words: LastWords) -> tuple[list[Event], list[str]]:
        """Return the last words of a process as the log has them, and the dump of its threads if it wrote one."""
        now = utc_now()
        lines = [self._safe_line(origin, event) for line in words.lines for event in events_of(line, origin, now)]
        dump = {"dump": [line.decode(errors="backslashreplace") for line in words.dump]}
        return [decode(line) for line in lines], self._redactor.redact(dump)["dump"]

    def count_line(self, name: str, count: int) -> bytes:
        """Return the line that says how many lines a writer had no room for."""
        return self._dropped_line({"target": name, "count": count})

    def configure_structlog(self, level: str) -> None:
        """Send this process's structlog events into the pipeline; children's events below `level` are left out."""
        self._least_level = LEVELS[level]
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                self._take_own_event,
            ],
            wrapper_class=structlog.make_filtering_bound_logger(level),
            logger_factory=structlog.ReturnLoggerFactory(),  # the default one needs an open stdout
            cache_logger_on_first_use=True,
        )

    def _take_own_event(self, _logger: Any, _method: str, event: Any) -> Any:
        if not is_echo(event):
            self._put([self._safe_line(self._own, event)], RESERVE_BYTES)
        raise structlog.DropEvent

    def _merged(self, origin: Origin, lines: list[bytes]) -> list[bytes]:
        now = utc_now()
        events = [
            event
            for line in lines
            for event in events_of(line, origin, now)
            if LEVELS[event["level"]] >= self._least_level or event["event"] == "child_output"
        ]
        if self._redactor.suspects(b"\n".join(lines)):
            return [self._safe_line(origin, event) for event in events]
        return [to_line(event, origin, self._run_id) for event in events]

    def _safe_line(self, origin: Origin, event: Event) -> bytes:
        line = to_line(event, origin, self._run_id)
        if self._redactor.suspects(line):
            return to_line(self._redactor.redact(decode(line)), origin, self._run_id)
        return line

    def _put(self, lines: list[bytes], reserve_bytes: int = 0) -> None:
        if not lines:
            return
        with self._order:
            for writer in self._writers:
                writer.put(lines, reserve_bytes=reserve_bytes)
            self.ring.put(lines)

    def _say_dropped(self, origin: Origin, count: int) -> None:
        said = {"child": origin.proc, "child_pid": origin.pid, "count": count}
        self._put([self._dropped_line(said)], RESERVE_BYTES)

    def _dropped_line(self, said: Event) -> bytes:
        event = {"timestamp": utc_now(), "level": "warning", "event": "log_lines_dropped"}
        return to_line({**event, **said}, self._own, self._run_id)


def is_echo(event: Event) -> bool:
    """Whether an event tells of log lines being sent to who follows the log: it would make more of them."""
    return event.get("event") == "message_sent" and event.get("channel") == "launcher" and event.get("type") == "log"
