"""The well-known events in words: what an operator looks for should not have to be read out of keys.

Owns the sentences and the units. Pure. A sentence takes the keys that it tells of out of `rest`; the others follow it
as `key=value`, so nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Keys = dict[str, Any]


def sentence(name: str, rest: Keys) -> list[str]:
    """Return what the event `name` says as phrases, and take the keys it tells of out of `rest`."""
    words = _SENTENCES.get(name)
    if words is None:
        return []
    left = dict(rest)
    try:
        phrases = [phrase for phrase in words(left) if phrase]
    except (TypeError, ValueError, LookupError):
        return []  # a child's event of the same name, with something else in it
    for key in rest.keys() - left.keys():
        del rest[key]
    return phrases


def pair(key: str, value: Any) -> tuple[str, str]:
    """Return key and value as shown: the unit stands at the value."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        for suffix, words in _UNITS.items():
            if key.endswith(suffix) and len(key) > len(suffix) and not key.endswith("_per_s"):
                return key.removesuffix(suffix), words(value).replace(" ", "")
        return key, f"{value:.6g}" if isinstance(value, float) else str(value)
    text = str(value)
    return key, text if text and " " not in text else repr(text)


def duration(seconds: float) -> str:
    """Return a time span as people say it."""
    if seconds < 1:
        return milliseconds(1000 * seconds)
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest_s} s"


def milliseconds(value: float) -> str:
    """Return a short time span."""
    return f"{value:.3g} ms" if value < 1000 else duration(value / 1000)


def size(count: float) -> str:
    """Return a number of bytes."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


_UNITS: dict[str, Callable[[float], str]] = {
    "_s": duration,
    "_ms": milliseconds,
    "_bytes": size,
    "_percent": lambda value: f"{value:.3g} %",
}


def _child(rest: Keys) -> str:
    pid = rest.pop("child_pid", None)
    return str(rest.pop("child")) + (f" (pid {pid})" if pid else "") if "child" in rest else ""


def _child_ready(rest: Keys) -> list[str]:
    child, start_s = _child(rest), rest.pop("start_s", None)
    return [child, "" if start_s is None else f"after {duration(start_s)}"]


def _child_exited(rest: Keys) -> list[str]:
    signal, code = rest.pop("signal", None), rest.pop("exit_code", None)
    uptime_s = rest.pop("uptime_s", None)
    how = f"killed by {signal}" if signal else f"exit code {code}"
    return [_child(rest), how, "" if uptime_s is None else f"after {duration(uptime_s)}"]


def _child_reason(rest: Keys) -> list[str]:
    child = _child(rest)
    return [f"{child}:" if "reason" in rest else child, str(rest.pop("reason", ""))]


def _child_signalled(rest: Keys) -> list[str]:
    return [_child(rest), f"← {rest.pop('signal')}"] if "signal" in rest else [_child(rest)]


def _restart_scheduled(rest: Keys) -> list[str]:
    child, delay_s, reason = _child(rest), rest.pop("delay_s", None), rest.pop("reason", None)
    phrases = [child, "at once" if delay_s == 0 else f"in {duration(delay_s)}"]
    if "attempt" in rest:
        phrases.append(f"(attempt {rest.pop('attempt')})")
    return [*phrases, f"after: {reason}"] if reason else phrases


def _traffic(rest: Keys) -> list[str]:
    phrases = []
    for way in ("sent", "received"):
        count, count_bytes = rest.pop(way, 0), rest.pop(f"{way}_bytes", 0)
        phrases.append(f"{way} {count:,} ({size(count_bytes)})")
    return phrases + [
        f"{name} {milliseconds(rest.pop(f'{name}_ms'))}" for name in ("p50", "p99") if f"{name}_ms" in rest
    ]


def _message(arrow: str) -> Callable[[Keys], list[str]]:
    def words(rest: Keys) -> list[str]:
        kind, op = rest.pop("type", None), rest.pop("op", None)
        number = [f"#{rest.pop(key)}" for key in ("seq", "id") if key in rest][:1]
        said = [f"{arrow} {rest.pop('peer', '?')}", str(kind or op or ""), *number]
        return [*said, size(rest.pop("size_bytes"))] if "size_bytes" in rest else said

    return words


def _dropped(rest: Keys) -> list[str]:
    count = rest.pop("count")
    target = f"{rest.pop('target')} was too slow for them" if "target" in rest else f"{_child(rest)} wrote too much"
    return [f"{count:,} lines: {target}"]


def _crash_report_written(rest: Keys) -> list[str]:
    return [_child(rest), str(rest.pop("file"))]


def _launcher_ready(rest: Keys) -> list[str]:
    return [str(rest.pop("url"))]


_SENTENCES: dict[str, Callable[[Keys], list[str]]] = {
    "child_started": lambda rest: [_child(rest)],
    "child_ready": _child_ready,
    "child_exited": _child_exited,
    "child_hung": _child_reason,
    "child_fatal": _child_reason,
    "child_signalled": _child_signalled,
    "launcher_ready": _launcher_ready,
    "crash_report_written": _crash_report_written,
    "restart_scheduled": _restart_scheduled,
    "traffic": _traffic,
    "message_sent": _message("→"),
    "message_received": _message("←"),
    "log_lines_dropped": _dropped,
}
