"""What goes through the two pipes between the launcher and a child: one JSON object per line.

Owns the words and their text form. Pure. Lines this short are written to a pipe in one piece, so neither side ever
waits in the middle of one.
"""

from __future__ import annotations

import msgspec

from ipc.child import ChildSettings


class Go(msgspec.Struct, frozen=True, tag_field="op", tag="go"):
    """Launcher to child: run now, with these settings. A successor has a predecessor that still works."""

    settings: ChildSettings
    is_successor: bool = False


class Accept(msgspec.Struct, frozen=True, tag_field="op", tag="accept"):
    """Launcher to successor: your predecessor takes no more connections."""


class Succeed(msgspec.Struct, frozen=True, tag_field="op", tag="succeed"):
    """Launcher to successor: your predecessor is gone."""


class Stop(msgspec.Struct, frozen=True, tag_field="op", tag="stop"):
    """Launcher to child: finish."""


class Spawned(msgspec.Struct, frozen=True, tag_field="op", tag="spawned"):
    """Child to launcher: everything is imported, say go."""


class Ready(msgspec.Struct, frozen=True, tag_field="op", tag="ready"):
    """Child to launcher: I do my work."""


class Prepared(msgspec.Struct, frozen=True, tag_field="op", tag="prepared"):
    """Successor to launcher: I can take over."""


class Released(msgspec.Struct, frozen=True, tag_field="op", tag="released"):
    """Child to launcher: I take no more connections."""


class Heartbeat(msgspec.Struct, frozen=True, tag_field="op", tag="heartbeat"):
    """Child to launcher: what could hang does not."""


class SetupFailed(msgspec.Struct, frozen=True, tag_field="op", tag="setup_failed"):
    """Child to launcher: starting me again as I am will not help."""

    reason: str


Command = Go | Accept | Succeed | Stop
Notice = Spawned | Prepared | Ready | Released | Heartbeat | SetupFailed

_encode = msgspec.json.Encoder().encode
decode_command = msgspec.json.Decoder(Command).decode
decode_notice = msgspec.json.Decoder(Notice).decode


def encode(word: Command | Notice) -> bytes:
    """Return the word as a line."""
    return _encode(word) + b"\n"
