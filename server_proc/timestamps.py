"""Timestamps: RFC 3339 text in, unix milliseconds inside, UTC text with milliseconds and Z out.

Pure: the present never enters here, so nothing in here can be absurd; only malformed. Any thread.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ONE_MS = timedelta(milliseconds=1)

_RFC_3339 = re.compile(
    r"(\d{4})-(\d{2})-(\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?(?:([Zz])|([+-])(\d{2}):(\d{2}))?",
    re.ASCII,
)


class TimestampError(ValueError):
    """The text is not a timestamp that names one moment; the message says why."""


def parse_timestamp_ms(text: str) -> int:
    """Return the unix milliseconds of an RFC 3339 timestamp with an offset; finer digits are cut off.

    Raises TimestampError. `datetime.fromisoformat` is not used: it also accepts ISO 8601 forms that RFC 3339
    does not have (week dates, offsets with seconds, no separators), and another reader of our data would not.
    """
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise TimestampError('must be an RFC 3339 timestamp with an offset, such as "2026-01-31T09:00:00+01:00"')
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, zulu, sign, offset_hours, offset_minutes = match.groups()[6:]
    if zulu is None and sign is None:
        raise TimestampError('must have an offset ("Z" or "+01:00"): without one it names no moment')
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    try:
        offset = UTC if zulu else _offset(sign, int(offset_hours), int(offset_minutes))
        moment = datetime(year, month, day, hour, minute, second, microsecond, tzinfo=offset)
    except ValueError as error:
        raise TimestampError(f"is not a real moment: {error}") from error
    return (moment - EPOCH) // ONE_MS


def format_timestamp(unix_ms: int) -> str:
    """Return "2026-01-31T08:00:00.000Z" for unix milliseconds."""
    unix_s, ms = divmod(unix_ms, 1000)
    return f"{_format_second(unix_s)}.{ms:03}Z"


@lru_cache(maxsize=4096)  # what is formatted together lies close together: formatting is most of a message's cost
def _format_second(unix_s: int) -> str:
    return (EPOCH + timedelta(seconds=unix_s)).isoformat()[:19]


def start_of_local_day_ms(now_ms: int) -> int:
    """Return the unix milliseconds of the last midnight where this machine stands (its own time zone)."""
    local_date = (EPOCH + now_ms * ONE_MS).astimezone().date()
    midnight = datetime(local_date.year, local_date.month, local_date.day).astimezone()
    return (midnight - EPOCH) // ONE_MS


def local_hour(unix_ms: int) -> int:
    """Return the hour that clocks show where this machine stands."""
    return (EPOCH + unix_ms * ONE_MS).astimezone().hour


def _offset(sign: str, hours: int, minutes: int) -> timezone:
    if hours > 23 or minutes > 59:
        raise ValueError("offset must be from -23:59 to +23:59")
    distance = timedelta(hours=hours, minutes=minutes)
    return timezone(-distance if sign == "-" else distance)
