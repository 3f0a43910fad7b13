"""The one log of the tree: the launcher's own events, and every line that a child writes.

Owns the merging (what a line becomes) and the writers it goes to. Must not know child states or restarts. `emit` may
be called from any thread; nothing here waits for a disk or a terminal before `close`.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import structlog

from launcher.log_writer import LogWriter, close_all
from launcher.redaction import redact

_encode = msgspec.json.Encoder(enc_hook=repr).encode
_decode = msgspec.json.Decoder().decode
_EVENT_START = b'{"event":'
_FIRST_KEYS = ("timestamp", "level", "event")


class Origin(msgspec.Struct, frozen=True):
    """Which process a line comes from."""

    proc: str
    pid: int


class LogPipeline:
    """Turns events and child lines into JSON lines and hands them to every writer."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._own = Origin("launcher", os.getpid())
        self._writers: tuple[LogWriter, ...] = ()

    def start(self, writers: Iterable[LogWriter]) -> None:
        """Start the writers; from now on lines go somewhere."""
        self._writers = tuple(writers)
        for writer in self._writers:
            writer.start()

    def close(self, timeout_s: float) -> None:
        """Write what is queued, for `timeout_s` at most."""
        close_all(self._writers, timeout_s)

    def child_lines(self, origin: Origin, lines: Iterable[bytes]) -> None:
        """Log what a child wrote: its events as they are, anything else as `child_output`."""
        for line in lines:
            event = _read_event(line)
            output = line if event is None else b""
            if event is None and (start := line.find(_EVENT_START)) > 0 and (event := _read_event(line[start:])):
                output = line[:start]  # somebody printed without a newline, and then came an event
            if output.strip():
                self._emit(origin, _output_event(origin, output))
            if event is not None:
                self._emit(origin, event)

    def count_line(self, name: str, count: int) -> bytes:
        """Return the line that says how many lines a writer had no room for."""
        event = {"timestamp": utc_now(), "level": "warning", "event": "log_lines_dropped"}
        return self._merge(self._own, {**event, "target": name, "count": count})

    def configure_structlog(self, level: str) -> None:
        """Send this process's structlog events into the pipeline."""
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
        self._emit(self._own, event)
        raise structlog.DropEvent

    def _emit(self, origin: Origin, event: dict[str, Any]) -> None:
        line = self._merge(origin, event)
        for writer in self._writers:
            writer.put(line)

    def _merge(self, origin: Origin, event: dict[str, Any]) -> bytes:
        first = {key: event[key] for key in _FIRST_KEYS if key in event}
        ours = {"proc": origin.proc, "pid": origin.pid, "run_id": self._run_id}
        return _to_json({**first, **ours, **redact(event), **ours})


def utc_now() -> str:
    """Return the time as every event of the log has it."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def decoded(render: Callable[[dict[str, Any]], str]) -> Callable[[bytes], bytes]:
    """Make a renderer of events into one of JSON lines."""
    return lambda line: render(_decode(line)).encode(errors="backslashreplace")


def _read_event(line: bytes) -> dict[str, Any] | None:
    if not line.startswith(b"{"):
        return None
    try:
        event = _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(event.get("event"), str):
        return {"timestamp": utc_now(), "level": "info", **event}
    return None


def _output_event(origin: Origin, line: bytes) -> dict[str, Any]:
    text = line.decode(errors="backslashreplace")
    said = {"child": origin.proc, "child_pid": origin.pid, "text": text}
    return {"timestamp": utc_now(), "level": "warning", "event": "child_output", **said}


def _to_json(event: dict[str, Any]) -> bytes:
    try:
        return _encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # A lone surrogate, or something that no hook can save: an event in odd clothes beats a lost one.
        return json.dumps({str(key): _plain(value) for key, value in event.items()}).encode()


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else repr(value)
