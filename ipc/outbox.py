"""What a client has said and the server has not acknowledged yet. Pure; the client's lock guards it."""

from ipc.protocol import encode_client_message
from ipc.sequence import Sequence


class Outbox(Sequence):
    """Numbered messages and requests of one client, kept until acknowledged, bounded by count and bytes."""

    def __init__(self, max_messages: int, max_bytes: int) -> None:
        super().__init__()
        self._max_messages = max_messages
        self._max_bytes = max_bytes

    @property
    def next_id(self) -> int:
        """The id of the next message that is accepted."""
        return self.newest + 1

    def put(self, op: bytes, encoded_payload: bytes) -> int | None:
        """Keep a "message" or "request"; return its id, or None when the outbox is full."""
        number = self.newest + 1
        if number - self.oldest >= self._max_messages or self.total_bytes + len(encoded_payload) > self._max_bytes:
            return None
        return self.push(encode_client_message(op, number, encoded_payload))

    def acknowledge(self, last_id: int) -> None:
        """Forget what the server has handled."""
        self.drop_through(last_id)

    def read(self, after_id: int, max_bytes: int) -> tuple[bytes, int]:
        """Return what comes after `after_id`, like `Sequence.read`; what is acknowledged by now is skipped."""
        oldest = self.oldest
        return super().read(after_id if after_id + 1 >= oldest else oldest - 1, max_bytes)
