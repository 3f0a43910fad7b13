"""A dense run of numbered, encoded objects: what a message log and an outbox have in common. Pure.

One thread may add and drop at a time; any number may read meanwhile without a lock. That works because the entries only
grow at one end of a list, and a list that has become too long for what is kept is replaced, not changed.
"""


class Lapped(Exception):
    """The reader's cursor points before the oldest entry that is still kept."""


class Sequence:
    """Encoded objects numbered `oldest`..`newest`. `total_bytes` is the sum of their sizes."""

    def __init__(self, newest: int = 0) -> None:
        self.newest = newest
        self.oldest = newest + 1
        self.total_bytes = 0
        self._stale_bytes = 0
        self._store: tuple[int, list[bytes]] = (newest + 1, [])  # the first entry's number, and the entries
        self._append = self._store[1].append

    def __len__(self) -> int:
        return self.newest + 1 - self.oldest

    def push(self, encoded: bytes) -> int:
        """Add an object at the new end and return its number."""
        try:
            self._append(encoded)
            self.total_bytes += len(encoded)
            self.newest = number = self.newest + 1
        except BaseException:  # of a signal handler, which may run after each call
            base, entries = self._store
            del entries[self.newest + 1 - base :]
            raise
        return number

    def drop_through(self, number: int) -> None:
        """Forget everything up to and including `number`."""
        base, entries = self._store
        last = min(number, self.newest)
        if last < self.oldest:
            return
        dropped_bytes = sum(map(len, entries[self.oldest - base : last + 1 - base]))
        self.oldest = last + 1
        self.total_bytes -= dropped_bytes
        self._stale_bytes += dropped_bytes
        if 16 * self._stale_bytes > self.total_bytes:
            self._stale_bytes = 0
            self._store = (last + 1, entries[last + 1 - base :])
            self._append = self._store[1].append

    def read(self, after: int, max_bytes: int) -> tuple[bytes, int]:
        """Return the objects after `after`, joined by newlines, and the number of the last one.

        At most `max_bytes`, but at least one object if there is one; `(b"", after)` if there is none.
        Raises Lapped when entries after `after` are already gone.
        """
        if after + 1 < self.oldest:
            raise Lapped
        newest = self.newest  # before the list: whatever list comes now holds all up to here that is not dropped
        if after >= newest:
            return b"", after
        base, entries = self._store
        start = after + 1 - base
        if start < 0:
            raise Lapped
        count = newest - after
        if count == 1:
            return entries[start], newest
        if count * self.total_bytes < max_bytes * len(self) // 2:  # on average, all of it fits easily
            body = b"\n".join(entries[start : start + count])
            if len(body) <= max_bytes:
                return body, newest
        batch = _first_that_fit(entries, start, count, max_bytes)
        return b"\n".join(batch), after + len(batch)


def _first_that_fit(entries: list[bytes], start: int, count: int, max_bytes: int) -> list[bytes]:
    """Return as many of `count` entries as fit into `max_bytes` with newlines between them; at least one."""
    size = -1
    for position in range(start, start + count):
        size += len(entries[position]) + 1
        if size > max_bytes:
            return entries[start : max(position, start + 1)]
    return entries[start : start + count]
