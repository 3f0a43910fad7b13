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
