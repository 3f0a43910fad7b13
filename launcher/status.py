"""What the launcher tells about itself: the object behind `status`, and the table of it.

Owns the shape (`status --json` promises it) and the figures that are taken at the moment of asking. A `Snapshot` is
immutable and published by the supervisor's thread; the control plane's threads read it.
"""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import psutil

from launcher.policy_types import State


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


class Meter:
    """CPU and memory of processes, measured when asked for. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._processes: dict[int, psutil.Process] = {}

    def read(self, pid: int | None) -> dict[str, Any]:
        """Return `cpu_percent` (since the last reading) and `rss_bytes`, None where there is nothing to read."""
        try:
            with self._lock:
                process = self._process(pid)
                if process is None:
                    return {"cpu_percent": None, "rss_bytes": None}
                return {"cpu_percent": process.cpu_percent(None), "rss_bytes": process.memory_info().rss}
        except psutil.Error:
            return {"cpu_percent": None, "rss_bytes": None}

    def keep_only(self, pids: set[int]) -> None:
        """Forget processes that are gone."""
        with self._lock:
            self._processes = {pid: process for pid, process in self._processes.items() if pid in pids}

    def _process(self, pid: int | None) -> psutil.Process | None:
        if pid is None:
            return None
        if pid not in self._processes:
            self._processes[pid] = psutil.Process(pid)
        return self._processes[pid]


def describe(snapshot: Snapshot, now: float, meter: Meter) -> dict[str, Any]:
    """Return the status object."""
    meter.keep_only({child.pid for child in snapshot.children if child.pid is not None})
    return {
        "run_id": snapshot.run_id,
        "pid": snapshot.pid,
        "uptime_s": round(now - snapshot.started_s, 3),
        "socket": snapshot.socket,
        "control_socket": snapshot.control_socket,
        "url": snapshot.url,
        "is_stopping": snapshot.is_stopping,
        "children": [_describe_child(child, now, meter) for child in snapshot.children],
    }


def _describe_child(child: ChildStatus, now: float, meter: Meter) -> dict[str, Any]:
    return {
        "name": child.name,
        "state": str(child.state),
        "pid": child.pid,
        "spare_pid": child.spare_pid,
        "restarts": child.restarts,
        "uptime_s": None if child.started_s is None else round(now - child.started_s, 3),
        **meter.read(child.pid),
        "last_exit": child.last_exit,
        "attempt": child.attempt,
        "reason": child.reason,
    }


_COLUMNS = ("child", "state", "pid", "restarts", "uptime", "cpu", "memory", "last exit")


def table(status: dict[str, Any]) -> str:
    """Render a status object for a person."""
    rows = [_COLUMNS, *(_row(child) for child in status["children"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    head = f"pid {status['pid']}, up {_duration(status['uptime_s'])}, {status['url']}, {status['socket']}"
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join((head, *lines))


def _row(child: dict[str, Any]) -> tuple[str, ...]:
    cpu, rss = child["cpu_percent"], child["rss_bytes"]
    return (
        child["name"],
        child["state"],
        "-" if child["pid"] is None else str(child["pid"]),
        str(child["restarts"]),
        "-" if child["uptime_s"] is None else _duration(child["uptime_s"]),
        "-" if cpu is None else f"{cpu:.0f} %",
        "-" if rss is None else f"{rss / 2**20:.0f} MiB",
        child["reason"] or (child["last_exit"] or {}).get("words", "-"),
    )


def _duration(seconds: float) -> str:
    minutes, rest_s = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest_s} s" if minutes else f"{rest_s} s"
