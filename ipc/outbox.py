"""What a client has said and the server has not acknowledged yet. Pure; the client's lock guards it."""

from ipc.protocol import encode_client_message
from ipc.sequence import Sequence


class Outbox:
    """Numbered messages and requests of one client, kept until acknowledged, bounded by count and bytes."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._entries = Sequence()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def oldest(self) -> int:
        return self._entries.oldest

    @property
    def next_id(self) -> int:
        """The id of the next message that is accepted."""
        return self._entries.newest + 1

    def push(self, op: str, encoded_payload: bytes) -> int | None:
        """Keep a "message" or "request"; return its id, or None when the outbox is full."""
        entries = self._entries
        if len(entries) >= self._max_messages or entries.total_bytes + len(encoded_payload) > self._max_bytes:
            return None
        return entries.push(encode_client_message(op, entries.newest + 1, encoded_payload))

    def acknowledge(self, last_id: int) -> None:
        """Forget what the server has handled."""
        self._entries.drop_through(last_id)

    def read(self, after_id: int, max_bytes: int) -> tuple[bytes, int]:
        """Return what comes after `after_id`, like `Sequence.read`; what is acknowledged by now is skipped."""
        return self._entries.read(max(after_id, self._entries.oldest - 1), max_bytes)
