"""Device keys: who may use the server from another machine.

A key is shown once, when it is made; the database has its SHA-256. Whether it counts is read from the database at each
request, so that a key which another process revokes is worth nothing from then on. Knows SQL; knows neither HTTP nor
the command line. Any thread may call.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import msgspec
import structlog

from server_proc.database import Database
from server_proc.database_errors import DatabaseError
from server_proc.marks import text_fault

KEY_PREFIX = "axon_"  # so that a key that turns up somewhere is known for one
KEY_BYTES = 32
SEEN_EVERY_MS = 60_000
SEEN_PATIENCE_S = 0.05

log = structlog.get_logger()


class DeviceError(Exception):
    """The name does not fit; the message says why."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """A device as an operator sees it; the times are unix milliseconds."""

    name: str
    created_ms: int
    last_seen_ms: int | None
    revoked_ms: int | None


class DeviceStore:
    """The devices of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted_ms: dict[int, int] = {}

    def add(self, name: str, now_ms: int) -> str:
        """Make a key for `name` and return it; a revoked device of that name gets the new one. Raises DeviceError."""
        if fault := text_fault(name):
            raise DeviceError(f"the name {fault}")
        key = KEY_PREFIX + secrets.token_urlsafe(KEY_BYTES)
        with self._database.write() as transaction:
            cursor = transaction.connection.execute(
                "INSERT INTO devices (name, key_sha256, created_ms) VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE"
                " SET key_sha256 = ?2, created_ms = ?3, last_seen_ms = NULL, revoked_ms = NULL"
                " WHERE revoked_ms IS NOT NULL",
                (name, _digest(key), now_ms),
            )
            is_added = cursor.rowcount == 1
        if not is_added:
            raise DeviceError(f"there is a device {name!r} already: revoke it first, or choose another name")
        return key

    def revoke(self, name: str, now_ms: int) -> None:
        """Make the key of `name` worthless from the next request on. Raises DeviceError."""
        with self._database.write() as transaction:
            cursor = transaction.connection.execute(
                "UPDATE devices SET revoked_ms = ? WHERE name = ? AND revoked_ms IS NULL", (now_ms, name)
            )
            is_revoked = cursor.rowcount == 1
        if not is_revoked:
            raise DeviceError(f"there is no device {name!r} with a key")

    def all(self) -> list[Device]:
        """Return every device, the revoked ones too, by name."""
        query = "SELECT name, created_ms, last_seen_ms, revoked_ms FROM devices ORDER BY name"
        with self._database.read() as connection:
            rows = connection.execute(query).fetchall()
        return [msgspec.convert(dict(zip(Device.__struct_fields__, row, strict=True)), Device) for row in rows]

    def has_any(self) -> bool:
        """Whether there is a key that counts."""
        with self._database.read() as connection:
            return connection.execute("SELECT 1 FROM devices WHERE revoked_ms IS NULL").fetchone() is not None

    def authenticate(self, key: str, now_ms: int) -> str | None:
        """Return the name of the device whose key this is, None if it is nobody's. Raises DatabaseError."""
        digest = _digest(key)
        with self._database.read() as connection:
            # The index compares digests, not keys: how long it takes tells nothing that leads to a better guess.
            row = connection.execute(
                "SELECT id, name, key_sha256, last_seen_ms FROM devices WHERE key_sha256 = ? AND revoked_ms IS NULL",
                (digest,),
            ).fetchone()
        if row is None or not hmac.compare_digest(row[2], digest):
            return None
        self._note_seen(row[0], row[3], now_ms)
        return str(row[1])

    def _note_seen(self, device_id: int, stored_ms: int | None, now_ms: int) -> None:
        """Write when a device was last seen, once a minute: a write costs more than a request."""
        noted_ms = max(stored_ms or 0, self._noted_ms.get(device_id, 0))
        if 0 <= now_ms - noted_ms < SEEN_EVERY_MS:
            return
        self._noted_ms[device_id] = now_ms  # first, so that a disk that is full is not tried at each request
        try:
            with self._database.write(SEEN_PATIENCE_S) as transaction:
                transaction.connection.execute("UPDATE devices SET last_seen_ms = ? WHERE id = ?", (now_ms, device_id))
        except DatabaseError as error:
            log.debug("device_sighting_not_stored", reason=str(error))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogatepass")).digest()
