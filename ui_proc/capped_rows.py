"""Rows that arrive one by one, are shown in batches, newest first, and never exceed a cap.

Owns the order and the cap. Must not know what a row is, Qt, or time. Pure: whoever holds it calls it from one thread.

Shown and pending rows are kept apart because a Qt model must change its rows between a `begin...` and an `end...`
call: it asks for `pending` and `overflow`, announces them, then calls `drop_oldest` and `publish`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Row = TypeVar("Row")


class CappedRows(Generic[Row]):
    """The shown rows (index 0 is the newest) and the ones waiting to be shown."""

    def __init__(self, max_rows: int) -> None:
        if max_rows < 1:
            raise ValueError(f"max_rows is {max_rows}; a table needs room for at least one row")
        self.max_rows = max_rows
        self._shown: list[Row] = []  # oldest first, so that adding is an append and reading is O(1)
        self._pending: deque[Row] = deque()

    def __len__(self) -> int:
        return len(self._shown)

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < len(self._shown):
            raise IndexError(index)
        return self._shown[-1 - index]

    def everything(self) -> Iterator[Row]:
        """Yield the shown and the pending rows, oldest first."""
        yield from self._shown
        yield from self._pending

    @property
    def pending(self) -> int:
        return len(self._pending)

    @property
    def overflow(self) -> int:
        """How many shown rows must go before the pending ones fit."""
        return max(0, len(self._shown) + len(self._pending) - self.max_rows)

    def add(self, row: Row) -> Row | None:
        """Queue a row; return the pending one it pushed out when a single batch exceeds the cap."""
        pushed_out = self._pending.popleft() if len(self._pending) == self.max_rows else None
        self._pending.append(row)
        return pushed_out

    def drop_oldest(self) -> list[Row]:
        """Remove the `overflow` oldest shown rows and return them."""
        count = self.overflow
        dropped = self._shown[:count]
        del self._shown[:count]
        return dropped

    def publish(self) -> int:
        """Move the pending rows to the top; `drop_oldest` comes first."""
        count = len(self._pending)
        self._shown.extend(self._pending)
        self._pending.clear()
        return count

    def replace(self, oldest_first: Iterable[Row]) -> None:
        """Show these rows, capped, instead of everything held so far."""
        self._pending.clear()
        self._shown = list(oldest_first)[-self.max_rows :]
