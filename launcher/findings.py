"""What a check has found, and how a list of that looks. Pure."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator

import msgspec


class Result(enum.StrEnum):
    """How bad it is: a problem keeps Axon from working, a warning does not."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


COLOURS = {Result.OK: "green", Result.WARNING: "yellow", Result.PROBLEM: "red"}


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at; whatever is not ok comes with what to do about it."""

    topic: str
    result: Result
    detail: str
    remedy: str = ""


Findings = Iterator[Finding]
Check = Callable[[], Findings]


def ok(topic: str, detail: str) -> Finding:
    """Say that a thing is as it should be."""
    return Finding(topic, Result.OK, detail)


def warning(topic: str, detail: str, remedy: str) -> Finding:
    """Say that a thing is not as it should be."""
    return Finding(topic, Result.WARNING, detail, remedy)


def problem(topic: str, detail: str, remedy: str) -> Finding:
    """Say that a thing keeps Axon from working."""
    return Finding(topic, Result.PROBLEM, detail, remedy)


def collect(topic: str, check: Check) -> list[Finding]:
    """Run a check; one that fails is a finding itself, and no reason not to run the others."""
    found: list[Finding] = []
    try:
        found.extend(check())
    except Exception as error:  # noqa: BLE001 - whatever this machine has in store
        found.append(warning(topic, f"cannot be checked: {type(error).__name__}: {error}", "report this"))
    return found


def one_line(text: str) -> str:
    """Return text of somebody else's as one line."""
    return " ".join(text.split())
