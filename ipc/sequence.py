"""A dense run of numbered, encoded objects: what a message log and an outbox have in common. Pure.

One thread may add and drop at a time; any number may read meanwhile without a lock. That works because the entries sit
in a dict under their number, each dict operation is atomic, and entries only leave from the old end.
"""


class Lapped(Exception):
    """The reader's cursor points before the oldest entry that is still kept."""


class Sequence:
    """Encoded objects numbered `oldest`..`newest`. `total_bytes` is the sum of their sizes."""

    def __init__(self, newest: int = 0) -> None:
        self.newest = newest
        self.oldest = newest + 1
        self.total_bytes = 0
        self._entries: dict[int, bytes] = {}

    def __len__(self) -> int:
        return self.newest + 1 - self.oldest

    def push(self, encoded: bytes) -> int:
        """Add an object at the new end and return its number."""
        number = self.newest + 1
        self._entries[number] = encoded
        self.total_bytes += len(encoded)
        self.newest = number
        return number

    def drop_through(self, number: int) -> None:
        """Forget everything up to and including `number`."""
        while self.oldest <= min(number, self.newest):
            self.drop_oldest()

    def drop_oldest(self) -> None:
        oldest = self.oldest
        self.oldest = oldest + 1  # first, so that a reader that misses the entry finds itself lapped
        self.total_bytes -= len(self._entries.pop(oldest))

    def read(self, after: int, max_bytes: int) -> tuple[bytes, int]:
        """Return the objects after `after`, joined by newlines, and the number of the last one.

        At most about `max_bytes`, but at least one object if there is one; `(b"", after)` if there is none.
        Raises Lapped when entries after `after` are already gone.
        """
        if after + 1 < self.oldest:
            raise Lapped
        newest = self.newest
        if after >= newest:
            return b"", after
        entries = self._entries
        batch = []
        size = 0
        for number in range(after + 1, newest + 1):
            encoded = entries.get(number)
            if encoded is None or (size and size + len(encoded) > max_bytes):
                break
            batch.append(encoded)
            size += len(encoded) + 1
        if not batch:
            raise Lapped
        return (batch[0] if len(batch) == 1 else b"\n".join(batch)), after + len(batch)
