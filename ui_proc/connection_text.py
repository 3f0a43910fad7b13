"""What the connection pill says: the client's state, and what the launcher knows of the server.

Owns the words and the tone. Must not know Qt, sockets or a clock; ages come in as seconds. Pure.
"""

from __future__ import annotations

from enum import Enum

import msgspec

from ipc import ClientState
from ui_proc import wording


class Tone(Enum):
    """How a state should look; `theme` gives each its colours."""

    GOOD = "good"
    BUSY = "busy"
    BAD = "bad"
    OFF = "off"


class Pill(msgspec.Struct, frozen=True):
    """`title` is always readable; `detail` may be cut where there is no room; `note` is for who looks closer."""

    tone: Tone
    title: str
    detail: str = ""
    note: str = ""


class ServerNews(msgspec.Struct, frozen=True):
    """What the launcher says of a server that does not run; no words when it runs or nothing is known."""

    words: str = ""
    reason: str = ""
    tone: Tone = Tone.BUSY


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the pill depends on."""

    state: ClientState
    state_age_s: float = 0.0  # since the client entered this state
    message_age_s: float | None = None  # since the last message; None when there was none
    is_loaded: bool = True  # the board has held a snapshot at some time
    is_syncing: bool = False  # a snapshot is under way
    server: ServerNews = ServerNews()


def describe(link: Link) -> Pill:
    """Return what the pill shows."""
    kind = link.state.kind
    if kind == "live":
        return _describe_live(link)
    if kind == "stale":
        return Pill(Tone.BUSY, "Server is silent", _heard(link), link.server.words)
    if kind == "unauthorized":
        return Pill(Tone.BAD, "Not authorized", link.state.reason or "the server refused this ui's key")
    if kind == "incompatible":
        return Pill(Tone.BAD, "Incompatible server", link.state.reason or "it speaks another protocol version")
    if kind == "stopped":
        return Pill(Tone.OFF, "Stopped", link.state.reason)
    return _describe_reconnect(link)


def _describe_live(link: Link) -> Pill:
    if link.is_syncing:
        return Pill(Tone.BUSY, "Live", "loading the board")
    if link.message_age_s is None:
        return Pill(Tone.GOOD, "Live", "no new message yet")
    return Pill(Tone.GOOD, "Live", f"last message {wording.age(link.message_age_s)}")


def _describe_reconnect(link: Link) -> Pill:
    when, server = _when(link), link.server
    if server.words:
        detail = server.reason or (f"next try {when}" if when else "")
        return Pill(server.tone, server.words[:1].upper() + server.words[1:], detail, link.state.reason)
    title = "Reconnecting" if link.is_loaded else "Connecting"
    # `attempt` counts the ones that failed, and "resuming" comes without a count.
    attempt = f"attempt {link.state.attempt + 1} {when}".strip() if link.state.attempt else ""
    return Pill(Tone.BUSY, title, attempt, link.state.reason)


def _when(link: Link) -> str:
    if link.state.kind != "waiting" or link.state.retry_in_s is None:
        return ""
    remaining_s = max(0.0, link.state.retry_in_s - link.state_age_s)
    return f"in {wording.duration(remaining_s + 0.5)}"


def _heard(link: Link) -> str:
    if link.message_age_s is None:
        return f"for {wording.duration(link.state_age_s)}"
    return f"last message {wording.age(link.message_age_s)}"


class LinkRecord:
    """Remembers what the pill depends on, with the moments (monotonic seconds) at which it was learnt."""

    def __init__(self, state: ClientState, now_s: float) -> None:
        self.state = state
        self.server = ServerNews()
        self.is_loaded = False
        self.is_syncing = True
        self._state_at_s = now_s
        self._message_at_s: float | None = None

    def state_changed(self, state: ClientState, now_s: float) -> None:
        """The client entered a state."""
        self.state, self._state_at_s = state, now_s

    def message_arrived(self, now_s: float) -> None:
        """The server sent a message."""
        self._message_at_s = now_s

    def pill(self, now_s: float) -> Pill:
        """Return what the pill shows at this moment."""
        return describe(
            Link(
                state=self.state,
                state_age_s=now_s - self._state_at_s,
                message_age_s=None if self._message_at_s is None else now_s - self._message_at_s,
                is_loaded=self.is_loaded,
                is_syncing=self.is_syncing,
                server=self.server,
            )
        )
