"""What a report about a death says: which deaths are worth one, and its contents.

Owns the words and the shape of `crashes/<time>-<child>.json`. Must not know files or threads. Pure, but for the
versions, which are looked up once.
"""

from __future__ import annotations

import functools
import os
import platform
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from launcher.log_events import Event

_STOPPED_BY = frozenset({"SIGTERM", "SIGKILL", "SIGINT", "SIGHUP"})
_LIBRARIES = {"pyside6": ("PySide6-Essentials", "PySide6"), "flask": ("Flask",), "waitress": ("waitress",)}


class Death(msgspec.Struct, frozen=True, kw_only=True):
    """How a child's process ended. `hung`: why it was killed, if it had stopped answering.

    `was_asked_to_stop`: by us, or by a user who quit.
    `was_waiting`: it was a spare or a successor, and another process acted as the child.
    """

    child: str
    child_pid: int
    exit_code: int | None
    signal: str | None
    uptime_s: float
    was_asked_to_stop: bool = False
    was_waiting: bool = False
    hung: str = ""

    @property
    def is_abnormal(self) -> bool:
        """Whether somebody should look into it: it was not asked for, or it did not end as it was asked to."""
        if self.hung or not self.was_asked_to_stop:
            return True
        return self.exit_code != 0 and self.signal not in _STOPPED_BY


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a process besides its end."""

    log: Sequence[Event]
    dump: Sequence[str]
    samples: Sequence[Mapping[str, Any]]


def describe_death(death: Death, evidence: Evidence, time: str, run_id: str) -> dict[str, Any]:
    """Return the report."""
    return {
        "time": time,
        "run_id": run_id,
        "child": death.child,
        "child_pid": death.child_pid,
        "reason": "hung" if death.hung else "crashed",
        "detail": _detail(death),
        "exit_code": death.exit_code,
        "signal": death.signal,
        "uptime_s": death.uptime_s,
        "versions": versions(),
        "samples": list(evidence.samples),
        "dump": list(evidence.dump),
        "log": list(evidence.log),
    }


def _detail(death: Death) -> str:
    if death.hung:
        return death.hung
    words = f"killed by {death.signal}" if death.signal else f"exit code {death.exit_code}"
    return f"{words}, while waiting for its turn" if death.was_waiting else words


@functools.cache
def versions() -> dict[str, str | None]:
    """Return what runs here, by name; None for what is not installed."""
    found = {name: _version_of(distributions) for name, distributions in _LIBRARIES.items()}
    system = os.uname()
    return {
        "axon": _own_version(),
        "python": platform.python_version(),
        **found,
        "kernel": f"{system.sysname} {system.release}",
    }


def _version_of(distributions: tuple[str, ...]) -> str | None:
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def _own_version() -> str | None:
    try:
        project = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
        return str(project["version"])
    except (OSError, ValueError, KeyError):
        return _version_of(("axon",))
