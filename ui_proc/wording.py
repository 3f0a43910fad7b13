"""How the window writes times, ages and delays.

Owns the wording of quantities. Must not know Qt or a clock: moments and days come in. Pure.
"""

from __future__ import annotations

from datetime import date, datetime, tzinfo

MINUTE_S = 60
HOUR_S = 60 * MINUTE_S
DAY_S = 24 * HOUR_S
# A reader's clock and the server's differ a little on any network; only more than this is worth a remark.
CLOCK_SKEW_S = 2.0


def duration(seconds: float) -> str:
    """Write a length of time with at most two units: "8 s", "3 min 20 s", "2 h 05 min", "4 d 3 h"."""
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02d} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def age(seconds: float) -> str:
    """Write how long ago something was, coarsely enough to be read in passing."""
    if seconds < 1.0:
        return "just now"
    if seconds < MINUTE_S:
        return f"{int(seconds)} s ago"
    if seconds < HOUR_S:
        return f"{int(seconds // MINUTE_S)} min ago"
    return f"{duration(seconds)} ago"


def local_time(moment: datetime, today: date, zone: tzinfo | None = None) -> str:
    """Write a moment in local time, with the day when it is not today."""
    local = moment.astimezone(zone)
    clock = local.strftime("%H:%M:%S")
    if local.date() == today:
        return clock
    form = "%d %b" if local.year == today.year else "%d %b %Y"
    return f"{local.strftime(form)}  {clock}"


def received_delay(stamped: datetime, received: datetime) -> str:
    """Write how long a mark took from the reader to the server: offline readers send theirs late."""
    delay_s = (received - stamped).total_seconds()
    if delay_s < -CLOCK_SKEW_S:
        return f"clock {duration(-delay_s)} ahead"
    if delay_s < 1.0:
        return "live"
    return f"{duration(delay_s)} late"
