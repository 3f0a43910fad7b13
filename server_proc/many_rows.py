"""Many rows in one statement: each statement costs more than the rows in it. Pure."""

from __future__ import annotations

from functools import lru_cache


@lru_cache(maxsize=1024)
def values(columns: int, rows: int) -> str:
    """Return "(?, ?), (?, ?)": what follows VALUES for so many rows, with a parameter for each value."""
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)
