"""The figures of the day, counted once and continued."""

import contextlib
import os
import random
import time

import pytest

from server_proc.day_tally import DayTally
from server_proc.marks import NewMark
from server_proc.snapshots import SnapshotReader
from server_proc.voids import AlreadyVoidedError, NewVoid

HOUR_MS = 3_600_000


@pytest.fixture(params=["UTC", "Asia/Kathmandu", "America/St_Johns"])
def zone(request, monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", request.param)
    time.tzset()
    yield request.param
    monkeypatch.undo()
    time.tzset()


def at(local_time):
    """Return the unix milliseconds of a local time of 2026-01-31."""
    return int(time.mktime(time.strptime(f"2026-01-31 {local_time}", "%Y-%m-%d %H:%M"))) * 1000


def tally_of(database, now_ms):
    tally = DayTally(now_ms)
    with database.read() as connection:
        tally.bring_up_to_date(connection)
    return tally


@pytest.mark.usefixtures("zone")
def test_it_counts_the_local_day_by_local_hours(services, database):
    for person, local_time in [("1", "00:00"), ("1", "08:59"), ("2", "09:00"), ("2", "09:59"), ("3", "23:59")]:
        services.store.record(NewMark(person_id=person, timestamp_ms=at(local_time)), at("12:00"))
    for outside_ms in (at("00:00") - 1, at("00:00") + 24 * HOUR_MS):
        services.store.record(NewMark(person_id="4", timestamp_ms=outside_ms), at("12:00"))
    tally = tally_of(database, at("12:00"))
    assert (tally.marks, tally.people) == (5, 3)
    assert {hour: count for hour, count in enumerate(tally.per_hour) if count} == {0: 1, 8: 1, 9: 2, 23: 1}
    assert tally.covers(at("00:00"))
    assert tally.covers(at("23:59"))
    assert not tally.covers(at("00:00") - 1)
    assert not tally.covers(at("00:00") + 24 * HOUR_MS)


def test_a_day_on_which_the_clocks_change_is_whole(monkeypatch):
    monkeypatch.setitem(os.environ, "TZ", "Europe/Berlin")
    time.tzset()
    try:
        midnight_ms = int(time.mktime((2026, 3, 29, 0, 0, 0, 0, 0, -1))) * 1000
        tally = DayTally(midnight_ms + 12 * HOUR_MS)
        assert tally.covers(midnight_ms + 23 * HOUR_MS - 1)
        assert not tally.covers(midnight_ms + 23 * HOUR_MS)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_continued_it_is_what_counting_anew_finds(services, database):
    now_ms = at("12:00")
    dice = random.Random(1)  # noqa: S311  a dice
    continued = DayTally(now_ms)
    recorded = 0
    for _ in range(40):
        for _ in range(dice.randrange(4)):
            when_ms = now_ms - dice.randrange(30) * HOUR_MS
            services.store.record(NewMark(person_id=str(dice.randrange(9)), timestamp_ms=when_ms), now_ms)
            recorded += 1
        if recorded and dice.random() < 0.5:
            asked = NewVoid(mark_seq=dice.randint(1, recorded), reason="x")
            with contextlib.suppress(AlreadyVoidedError):
                services.voids.void(asked, now_ms)
        with database.read() as connection:
            continued.bring_up_to_date(connection)
        anew = tally_of(database, now_ms)
        assert (continued.marks, continued.people, continued.per_hour) == (anew.marks, anew.people, anew.per_hour)
    assert continued.marks > 10


def test_a_new_day_begins_from_nothing(services, database):
    services.store.record(NewMark(person_id="1", timestamp_ms=at("09:00")), at("09:00"))
    reader = SnapshotReader(database)
    assert reader.snapshot(1, 1 << 20, at("10:00"))["today"] == 1
    assert reader.snapshot(1, 1 << 20, at("10:00") + 24 * HOUR_MS)["today"] == 0
    assert reader.snapshot(1, 1 << 20, at("10:00"))["today"] == 1  # a clock that was put back
