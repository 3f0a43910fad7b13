"""One event for a person's eyes: as one line, or as several that are indented where the terminal is narrow.

Owns colours, columns and line breaks; takes events as dicts. Pure. Control characters of a value are shown, not
obeyed: what a client sends may end up here, and must not drive the operator's terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from launcher.console_words import pair, sentence
from launcher.log_events import Event, decode

_RESET = "\x1b[0m"
_DIM = "\x1b[2m"
_BOLD = "\x1b[1m"
_KEY = "\x1b[36m"
_LEVELS = {
    "debug": ("debug", "\x1b[2m"),
    "info": ("info", "\x1b[32m"),
    "warning": ("WARN", "\x1b[1;33m"),
    "error": ("ERROR", "\x1b[1;31m"),
    "critical": ("CRIT", "\x1b[1;37;41m"),
}
_PROCESSES = ("\x1b[35m", "\x1b[34m", "\x1b[36m")
_NAME_COLUMNS = 18
_NARROW_COLUMNS = 100
_NARROW_INDENT = 4
_NAMES = {"launcher_ready": "\x1b[1;32m", "message_sent": _DIM, "message_received": _DIM, "traffic": ""}
"""Few lines are looked for, and many are only looked at."""

_SHOWN_ELSEWHERE = frozenset({"timestamp", "level", "event", "proc", "pid", "run_id", "exception", "stack"})


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """How to show events. `columns` is the width of the terminal, None where lines are not to be broken."""

    colours: bool
    columns: int | None = None


class _Phrase(msgspec.Struct, frozen=True):
    text: str
    style: str = ""


def render(event: Event, look: Look) -> str:
    """Return the event as time, process, level, name and what it says; a traceback follows, indented."""
    head = [
        _Phrase(_visible(str(event.get("timestamp", ""))[11:23]), _DIM),
        _Phrase(f"{_visible(str(event.get('proc', '?'))):<8}", _process_style(str(event.get("proc", "?")))),
        _level(event),
    ]
    lines = _broken([*head, *_said(event)], look, _indent(head, look))
    return "\n".join([*(_painted(line, look) for line in lines), *_traceback(event)])


def decoded(look: Callable[[], Look]) -> Callable[[bytes], bytes]:
    """Return a renderer of JSON lines; it asks for the look each time, since a window may be resized."""

    def rendered(line: bytes) -> bytes:
        try:
            return render(decode(line), look()).encode(errors="backslashreplace")
        except Exception:  # noqa: BLE001 - a line that cannot be made nice is shown as it is, and the log goes on
            return line

    return rendered


def _level(event: Event) -> _Phrase:
    level = str(event.get("level", "info"))
    word, style = _LEVELS.get(level, (level, ""))
    return _Phrase(f"{_visible(word):<5}", style)


def _said(event: Event) -> list[_Phrase]:
    name, loud = str(event.get("event", "")), _loudness(event)
    if name == "child_output":
        return [_Phrase("│", _DIM), _Phrase(_visible(str(event.get("text", ""))))]
    rest = {key: value for key, value in event.items() if key not in _SHOWN_ELSEWHERE and value is not None}
    if rest.get("channel") == event.get("proc"):
        rest.pop("channel", None)
    words = [_Phrase(_visible(text), loud) for text in sentence(name, rest)]
    return [_Phrase(f"{_visible(name):<{_NAME_COLUMNS}}", loud or _NAMES.get(name, _BOLD)), *words, *_pairs(rest)]


def _pairs(rest: dict[str, Any]) -> Iterator[_Phrase]:
    for key, value in rest.items():
        shown_key, shown_value = map(_visible, pair(key, value))
        yield _Phrase(f"{shown_key}={shown_value}", _KEY)


def _loudness(event: Event) -> str:
    """Return the style of the whole line for what must not be overlooked."""
    level = event.get("level")
    return _LEVELS[str(level)][1] if level in ("warning", "error", "critical") else ""


def _indent(head: list[_Phrase], look: Look) -> int:
    if look.columns is not None and look.columns < _NARROW_COLUMNS:
        return _NARROW_INDENT
    return sum(len(phrase.text) + 1 for phrase in head)


def _broken(phrases: list[_Phrase], look: Look, indent: int) -> Iterator[list[_Phrase]]:
    """Yield the phrases line by line, none broken itself: a value has to be found when it is searched for."""
    line: list[_Phrase] = []
    width = 0
    for phrase in phrases:
        if look.columns is not None and len(line) > 1 and width + len(phrase.text.rstrip()) > look.columns:
            yield line
            line, width = [_Phrase(" " * (indent - 1))], indent
        line.append(phrase)
        width += len(phrase.text) + 1
    yield line


def _painted(line: list[_Phrase], look: Look) -> str:
    *others, last = line
    parts = [*others, _Phrase(last.text.rstrip(), last.style)]
    return " ".join(_paint(part) if look.colours else part.text for part in parts).rstrip()


def _paint(phrase: _Phrase) -> str:
    if not phrase.style:
        return phrase.text
    if phrase.style == _KEY:
        key, _, value = phrase.text.partition("=")
        return f"{_KEY}{key}{_RESET}{_DIM}={_RESET}{value}"
    return f"{phrase.style}{phrase.text}{_RESET}"


def _traceback(event: Event) -> list[str]:
    texts = (event.get("stack"), event.get("exception"))
    return [f"    {_visible(line)}" for text in texts if text for line in str(text).splitlines()]


def _visible(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() or c == "\t" else ascii(c)[1:-1] for c in text)


def _process_style(proc: str) -> str:
    # By the first letter, not by hash(): that one differs between runs.
    return _BOLD if proc == "launcher" else _PROCESSES[ord(proc[0]) % len(_PROCESSES)] if proc else ""
