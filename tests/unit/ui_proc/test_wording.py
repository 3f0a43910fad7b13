"""The wording of times, ages and delays."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ui_proc import wording

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (7500, "2 h 05 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_duration_has_at_most_two_units(seconds, text):
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "just now"), (3.9, "3 s ago"), (61, "1 min ago"), (7500, "2 h 05 min ago")],
)
def test_age_is_coarse(seconds, text):
    assert wording.age(seconds) == text


@pytest.mark.parametrize(
    ("today", "text"),
    [
        (date(2026, 3, 12), "12:00:00"),
        (date(2026, 3, 13), "12 Mar  12:00:00"),
        (date(2027, 1, 1), "12 Mar 2026  12:00:00"),
    ],
)
def test_a_time_names_its_day_when_it_is_not_today(today, text):
    assert wording.local_time(NOON, today, UTC) == text


@pytest.mark.parametrize(
    ("delay_s", "text"),
    [(0, "live"), (0.9, "live"), (-1.5, "live"), (42, "42 s late"), (7500, "2 h 05 min late"), (-5, "clock 5 s ahead")],
)
def test_a_delay_is_told_when_it_matters(delay_s, text):
    assert wording.received_delay(NOON, NOON + timedelta(seconds=delay_s)) == text
