"""What a line of a child means, and how an event becomes a line. Pure: the time comes in as an argument."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

Event = dict[str, Any]

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_encode = msgspec.json.Encoder(enc_hook=repr).encode
decode = msgspec.json.Decoder().decode
EVENT_START = b'{"event":'
_FIRST_KEYS = ("timestamp", "level", "event")


class Origin(msgspec.Struct, frozen=True):
    """Which process a line comes from."""

    proc: str
    pid: int


def events_of(line: bytes, origin: Origin, now: str) -> list[Event]:
    """Return what a child's line says: its event as it is, anything else as `child_output`, nothing if it is blank."""
    if (event := _read_event(line, now)) is not None:
        return [event]
    start = line.find(EVENT_START)
    if start > 0 and (event := _read_event(line[start:], now)):
        # Somebody printed without a newline, and then came an event.
        output = line[:start]
        return [_output_event(origin, output, now), event] if output.strip() else [event]
    return [_output_event(origin, line, now)] if line.strip() else []


def utc_text(moment: datetime.datetime) -> str:
    """Return a time as every event of the log has it."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def utc_now() -> str:
    """Return the time now, as text."""
    return utc_text(datetime.datetime.now(datetime.UTC))


def to_line(event: Event, origin: Origin, run_id: str) -> bytes:
    """Return the event as one line of JSON, marked with where it comes from."""
    first = {key: event[key] for key in _FIRST_KEYS if key in event}
    ours = {"proc": origin.proc, "pid": origin.pid, "run_id": run_id}
    return to_json({**first, **ours, **event, **ours})


def _read_event(line: bytes, now: str) -> Event | None:
    if not line.startswith(b"{"):
        return None
    try:
        event = decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(event.get("event"), str):
        return None
    level = event.get("level")
    if not isinstance(level, str) or level not in LEVELS:
        event["level"] = "info"
    event["timestamp"] = _as_utc(event.get("timestamp"), now)
    return event  # type: ignore[no-any-return]


def _as_utc(timestamp: Any, now: str) -> str:
    """Return a child's own time if it is one, else the time at which we read the line."""
    if not isinstance(timestamp, str):
        return now
    if len(timestamp) == len(now) and timestamp[10] == "T" and timestamp[-1] == "Z":
        return timestamp
    try:
        moment = datetime.datetime.fromisoformat(timestamp)
        return utc_text(moment) if moment.tzinfo else now
    except (ValueError, OverflowError):
        return now


def _output_event(origin: Origin, line: bytes, now: str) -> Event:
    text = line.decode(errors="backslashreplace")
    said = {"child": origin.proc, "child_pid": origin.pid, "text": text}
    return {"timestamp": now, "level": "warning", "event": "child_output", **said}


def to_json(event: Event) -> bytes:
    """Return the event as JSON, whatever is in it."""
    try:
        return _encode(event)
    except (TypeError, ValueError, OverflowError, RecursionError):
        # A lone surrogate, or something that no hook can save: an event in odd clothes beats a lost one.
        return _encode({_sound(str(key)): _plain(value) for key, value in event.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, bool | None):
        return value
    try:
        return _sound(value if isinstance(value, str) else repr(value))
    except RecursionError:
        return "nested too deeply"


def _sound(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
