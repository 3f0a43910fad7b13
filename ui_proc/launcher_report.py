"""What the launcher reports of its children over the control plane, and the words for it.

Owns the reading of the status object, leniently: a launcher may know more than this ui. Must not know Qt, sockets
or a clock. Pure.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ui_proc.connection_text import ServerNews, Tone

SERVER = "server"

Payload = dict[str, Any]


class Child(msgspec.Struct, frozen=True, kw_only=True):
    """One supervised process."""

    name: str
    state: str
    pid: int | None = None
    restarts: int = 0
    uptime_s: float | None = None
    cpu_percent: float | None = None
    rss_bytes: int | None = None
    last_exit: dict[str, Any] | None = None
    attempt: int = 0
    reason: str = ""

    @property
    def tone(self) -> Tone:
        return TONES.get(self.state, Tone.BUSY)

    @property
    def last_words(self) -> str:
        """Why it is as it is, or how it ended last, on one line."""
        return self.reason or (self.last_exit or {}).get("words", "")


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What a child and its descendants cost at the moment; 100 percent is one core."""

    child: str
    child_pid: int
    cpu_percent: float
    rss_bytes: int


TONES = {
    "RUNNING": Tone.GOOD,
    "STARTING": Tone.BUSY,
    "BACKOFF": Tone.BUSY,
    "STOPPING": Tone.BUSY,
    "STOPPED": Tone.OFF,
    "EXITED": Tone.OFF,
    "FATAL": Tone.BAD,
}


WORDS = {
    "FATAL": "server given up",
    "STOPPING": "server stopping",
    "STOPPED": "server stopped",
    "EXITED": "server exited",
}


class _Report(msgspec.Struct):
    children: list[Child]


def read_children(payload: Payload) -> tuple[Child, ...]:
    """Return the children of a status object or a `children` broadcast. Raises ValueError naming the field."""
    try:
        return tuple(msgspec.convert(payload, _Report).children)
    except msgspec.ValidationError as error:
        raise ValueError(f"launcher status: {error}") from error


def read_sample(payload: Payload) -> Sample:
    """Return what a `process_sampled` broadcast says. Raises ValueError naming the field."""
    try:
        return msgspec.convert(payload, Sample)
    except msgspec.ValidationError as error:
        raise ValueError(f"launcher sample: {error}") from error


def with_sample(children: tuple[Child, ...], sample: Sample) -> tuple[Child, ...]:
    """Return the children with the figures of this sample, if its process is still one of theirs."""
    return tuple(
        msgspec.structs.replace(child, cpu_percent=sample.cpu_percent, rss_bytes=sample.rss_bytes)
        if (child.name, child.pid) == (sample.child, sample.child_pid)
        else child
        for child in children
    )


def server_news(children: tuple[Child, ...]) -> ServerNews:
    """Say what the launcher knows of a server that is not running."""
    for child in children:
        if child.name == SERVER:
            return ServerNews(_words(child), child.reason, child.tone)
    return ServerNews()


def _words(child: Child) -> str:
    if child.state in ("STARTING", "BACKOFF"):
        if child.attempt:
            return f"server restarting, attempt {child.attempt}"
        return "server restarting" if child.restarts else "server starting"
    return WORDS.get(child.state, "")
