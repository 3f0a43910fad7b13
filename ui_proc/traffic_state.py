"""The list behind the Messages tab: what travelled between this ui and the server, both ways.

Owns the entries and their bound in memory. Must not know Qt, sockets or a clock. Pure.
"""

from __future__ import annotations

import enum
from datetime import datetime
from typing import Any

import msgspec

from ui_proc.capped_rows import CappedRows

MAX_ENTRIES = 1_000
# With MAX_ENTRIES this bounds the list to 16 MiB, however large the messages are.
MAX_BODY_BYTES = 16 * 1024
SUMMARY_BYTES = 400

Payload = dict[str, Any]


class Delivery(enum.Enum):
    """How far a message came, as far as this end knows."""

    RECEIVED = "received"
    SENT = "sent"  # accepted while the connection was live
    QUEUED = "queued"  # accepted, waits in the outbox for a connection
    REFUSED = "not sent"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One message; `body` is its JSON, cut to MAX_BODY_BYTES."""

    number: int
    at: datetime
    delivery: Delivery
    kind: str
    body: bytes
    size_bytes: int
    seq: int | None = None

    @property
    def is_outgoing(self) -> bool:
        return self.delivery is not Delivery.RECEIVED

    @property
    def summary(self) -> str:
        """The beginning of the JSON on one line, without the type, which has a column of its own."""
        text = self.body[:SUMMARY_BYTES].decode(errors="replace")
        return text.replace(f'"type":"{self.kind}",', "", 1).removeprefix("{").removesuffix("}")

    @property
    def detail(self) -> str:
        """The JSON, indented; of a cut one the beginning as it is."""
        if self.size_bytes <= len(self.body):
            return msgspec.json.format(self.body, indent=2).decode()
        return f"{self.body.decode(errors='replace')}\n\n(the first {len(self.body):,} of {self.size_bytes:,} bytes)"


class TrafficState:
    """The entries, newest first, and whether the list stands still."""

    def __init__(self, max_entries: int = MAX_ENTRIES) -> None:
        self.rows: CappedRows[Entry] = CappedRows(max_entries)
        self.is_paused = False
        self.missed = 0  # pushed out during a pause, never shown
        self._numbered = 0

    def received(self, at: datetime, payload: Payload, seq: int | None) -> None:
        """Add a message from the server."""
        self._add(at, payload, Delivery.RECEIVED, seq)

    def sent(self, at: datetime, payload: Payload, delivery: Delivery) -> None:
        """Add a message of our own with what became of it."""
        self._add(at, payload, delivery, None)

    def drop_oldest(self) -> None:
        """Remove the rows that must go before the pending ones fit."""
        self.rows.drop_oldest()

    def publish(self) -> int:
        """Put the pending rows on the list; return how many."""
        self.missed = 0
        return self.rows.publish()

    def _add(self, at: datetime, payload: Payload, delivery: Delivery, seq: int | None) -> None:
        self._numbered += 1
        body = msgspec.json.encode(payload)
        kind = payload.get("type")
        entry = Entry(
            number=self._numbered,
            at=at,
            delivery=delivery,
            kind=kind if isinstance(kind, str) else "",
            body=body[:MAX_BODY_BYTES],
            size_bytes=len(body),
            seq=seq,
        )
        if self.rows.add(entry) is not None:
            self.missed += 1
