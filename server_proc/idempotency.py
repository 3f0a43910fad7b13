"""Idempotency keys: a request that is repeated under the same key is answered as the first time, and done once.

Knows the table and how a request is told from another; knows neither HTTP nor what is done. The answer is stored in the
transaction of what it answers, so both survive or neither. Any thread may call.
"""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

import msgspec

from server_proc.problems import FieldError, WrongFieldsError

KEY_FIELD = "Idempotency-Key"
MAX_KEY_CHARS = 255
# A reader that was off over a long weekend still finds its answer.
REMEMBERED_MS = 7 * 24 * 60 * 60 * 1000
# Each new row takes up to two old ones along, so the table shrinks again and no transaction has much to do.
FORGOTTEN_PER_ROW = 2


class KeyedRequest(msgspec.Struct, frozen=True):
    """A request with a key; the fingerprint tells whether another one under that key asks for the same."""

    key: str
    fingerprint: bytes


def keyed_request(key: str, route: str, body: dict[str, Any]) -> KeyedRequest:
    """Return the request. Raises WrongFieldsError for a key that is none.

    Two bodies are the same if they are the same JSON, in whatever order and spacing.
    """
    if not (key.strip() and len(key) <= MAX_KEY_CHARS and key.isascii() and key.isprintable()):
        raise WrongFieldsError([FieldError(KEY_FIELD, f"must be 1 to {MAX_KEY_CHARS} printable ASCII characters")])
    canonical = msgspec.json.encode([route, body], order="sorted")
    return KeyedRequest(key, hashlib.sha256(canonical).digest())


def recall(connection: sqlite3.Connection, request: KeyedRequest, now_ms: int) -> bytes | None:
    """Return what was answered to this request before, or None. Raises WrongFieldsError if that was another one."""
    sql = "SELECT fingerprint, answer FROM idempotency WHERE key = ? AND answered_ms > ?"
    row = connection.execute(sql, (request.key, now_ms - REMEMBERED_MS)).fetchone()
    if row is None:
        return None
    if row[0] != request.fingerprint:
        raise WrongFieldsError([FieldError(KEY_FIELD, "was used with another body before: send a new key")])
    return bytes(row[1])


def remember(connection: sqlite3.Connection, request: KeyedRequest, answer: bytes, now_ms: int) -> None:
    """Store the answer, and forget some that are too old."""
    connection.execute(
        "INSERT OR REPLACE INTO idempotency (key, fingerprint, answer, answered_ms) VALUES (?, ?, ?, ?)",
        (request.key, request.fingerprint, answer, now_ms),
    )
    connection.execute(
        "DELETE FROM idempotency WHERE key IN"
        " (SELECT key FROM idempotency WHERE answered_ms <= ? ORDER BY answered_ms LIMIT ?)",
        (now_ms - REMEMBERED_MS, FORGOTTEN_PER_ROW),
    )
