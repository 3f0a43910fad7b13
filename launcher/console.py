"""One event as one line for a person's eyes.

Owns colours and columns; takes events as dicts. Pure. Control characters of a value are shown, not obeyed: what a
client sends may end up here, and must not drive the operator's terminal.
"""

from __future__ import annotations

from typing import Any

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_BOLD = "\x1b[1m"
_KEY = "\x1b[36m"
_LEVELS = {
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[1;31m",
}
_PROCESSES = ("\x1b[35m", "\x1b[34m", "\x1b[36m")
_SHOWN_ELSEWHERE = frozenset({"timestamp", "level", "event", "proc", "pid", "run_id", "exception", "stack"})


def render(event: dict[str, Any], *, colours: bool) -> str:
    """Return the event as time, process, level, name and its other keys; a traceback follows, indented."""
    paint = _paint if colours else _plain
    proc, level = str(event.get("proc", "?")), str(event.get("level", "info"))
    columns = [
        paint(str(event.get("timestamp", ""))[11:23] + "Z", _DIM),
        paint(f"{proc:<8}", _process_colour(proc)),
        paint(f"{level:<7}", _LEVELS.get(level, "")),
        *_said(event, paint),
    ]
    return "\n".join((" ".join(columns).rstrip(), *_traceback(event)))


def _said(event: dict[str, Any], paint: Any) -> list[str]:
    name = str(event.get("event", ""))
    if name == "child_output":
        return [paint("│", _DIM), _visible(str(event.get("text", "")))]
    pairs = [
        f"{paint(_visible(key), _KEY)}={_value(value)}"
        for key, value in event.items()
        if key not in _SHOWN_ELSEWHERE and value is not None
    ]
    return [paint(f"{_visible(name):<22}", _BOLD), *pairs]


def _traceback(event: dict[str, Any]) -> list[str]:
    texts = (event.get("stack"), event.get("exception"))
    return [f"    {_visible(line)}" for text in texts if text for line in str(text).splitlines()]


def _value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    return _visible(text) if text and " " not in text else repr(text)


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


def _process_colour(proc: str) -> str:
    # By the letters, not by hash(): that one differs between runs.
    return _BOLD if proc == "launcher" else _PROCESSES[sum(map(ord, proc)) % len(_PROCESSES)]


def _paint(text: str, style: str) -> str:
    return f"{style}{text}{_RESET}"


def _plain(text: str, _style: str) -> str:
    return text
