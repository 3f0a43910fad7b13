"""What the launcher tells about itself: the object behind `status`, and the table of it.

Owns the shape, which `status --json` promises. A `Snapshot` is immutable and published by the supervisor's thread; the
control plane's threads read it. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from launcher.policy_types import State
from launcher.sizes import size_words


class ChildStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One child, as the supervisor knows it."""

    name: str
    state: State
    pid: int | None
    spare_pid: int | None = None
    restarts: int
    started_s: float | None
    last_exit: dict[str, Any] | None
    attempt: int = 0
    reason: str = ""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The launcher at one moment."""

    run_id: str
    pid: int
    started_s: float
    socket: str
    control_socket: str
    url: str
    children: tuple[ChildStatus, ...] = ()
    is_stopping: bool = False
    is_restarting: bool = False
    """Restarts that somebody asked for are still to come, or under way."""


Figures = Callable[[str, int | None], dict[str, Any]]
"""What the child of this name costs, if this is its process: `cpu_percent`, `rss_bytes` and more."""


def describe(snapshot: Snapshot, now: float, figures: Figures) -> dict[str, Any]:
    """Return the status object."""
    return {
        "run_id": snapshot.run_id,
        "pid": snapshot.pid,
        "uptime_s": round(now - snapshot.started_s, 3),
        "socket": snapshot.socket,
        "control_socket": snapshot.control_socket,
        "url": snapshot.url,
        "is_stopping": snapshot.is_stopping,
        "children": [_describe_child(child, now, figures) for child in snapshot.children],
    }


def _describe_child(child: ChildStatus, now: float, figures: Figures) -> dict[str, Any]:
    return {
        "name": child.name,
        "state": str(child.state),
        "pid": child.pid,
        "spare_pid": child.spare_pid,
        "restarts": child.restarts,
        "uptime_s": None if child.started_s is None else round(now - child.started_s, 3),
        **figures(child.name, child.pid),
        "last_exit": child.last_exit,
        "attempt": child.attempt,
        "reason": child.reason,
    }


def with_crash_reports(status: dict[str, Any], last: Mapping[str, str]) -> dict[str, Any]:
    """Return the status object with each child's latest crash report, and the latest of all: paths, or None."""
    children = [{**child, "last_crash_report": last.get(child["name"])} for child in status["children"]]
    return {**status, "last_crash_report": next(iter(last.values()), None), "children": children}


_COLUMNS = ("child", "state", "pid", "restarts", "uptime", "cpu", "memory", "threads", "fds", "last exit")
_TO_THE_RIGHT = frozenset({"pid", "restarts", "uptime", "cpu", "memory", "threads", "fds"})
_STATE_COLOURS = {"RUNNING": "green", "FATAL": "red", "BACKOFF": "yellow", "STARTING": "yellow", "STOPPING": "yellow"}


def table(status: dict[str, Any], paint: Callable[[str, str], str] = lambda text, _colour: text) -> str:
    """Render a status object for a person. `paint(text, colour)` colours a state."""
    rows = [_row(child) for child in status["children"]]
    widths = [max(len(title), *(len(row[index]) for row in rows)) for index, title in enumerate(_COLUMNS)]
    lines = [_line(_COLUMNS, widths)]
    for row in rows:
        state = row[1]
        lines.append(_line(row, widths).replace(state, paint(state, _STATE_COLOURS.get(state, "")), 1))
    if report := status.get("last_crash_report"):
        lines += ["", f"last crash report: {report}"]
    return "\n".join((_head(status), "", *lines))


def _head(status: dict[str, Any]) -> str:
    """Return what the launcher itself is doing, and where it is reached."""
    doing = "stopping" if status["is_stopping"] else "running"
    return "\n".join(
        (
            f"axon {doing}, pid {status['pid']}, up {_duration(status['uptime_s'])}",
            f"  http    {status['url']}",
            f"  socket  {status['socket']}",
        )
    )


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = (
        cell.rjust(width) if title in _TO_THE_RIGHT else cell.ljust(width)
        for title, cell, width in zip(_COLUMNS, cells, widths, strict=True)
    )
    return "  ".join(padded).rstrip()


def _row(child: dict[str, Any]) -> tuple[str, ...]:
    return (
        child["name"],
        child["state"],
        _shown(child["pid"], str),
        str(child["restarts"]),
        _shown(child["uptime_s"], _duration),
        _shown(child["cpu_percent"], "{:.1f} %".format),
        _shown(child["rss_bytes"], size_words),
        _shown(child["threads"], str),
        _shown(child["fds"], str),
        _why(child),
    )


def _shown(value: Any, words: Callable[[Any], str]) -> str:
    return "-" if value is None else words(value)


def _why(child: dict[str, Any]) -> str:
    """Say why a child is as it is, or how it ended last, and which attempt to bring it back this is."""
    words = child["reason"] or _exit_words(child["last_exit"])
    is_coming_back = child["state"] in ("BACKOFF", "STARTING") and child["attempt"]
    return f"{words}; attempt {child['attempt']}" if is_coming_back else words


def _exit_words(last_exit: dict[str, Any] | None) -> str:
    if last_exit is None:
        return "-"
    return f"{last_exit['words']}, after {_duration(last_exit['uptime_s'])}"


def _duration(seconds: float) -> str:
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
