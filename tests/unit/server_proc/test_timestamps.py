"""RFC 3339 in, unix milliseconds inside, UTC out."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server_proc.timestamps import (
    TimestampError,
    format_timestamp,
    local_hour,
    parse_timestamp_ms,
    start_of_local_day_ms,
)

EIGHT_O_CLOCK_MS = 1_769_846_400_000


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T08:00:00Z",
        "2026-01-31t08:00:00z",
        "2026-01-31 08:00:00Z",
        "2026-01-31T09:00:00+01:00",
        "2026-01-31T02:30:00-05:30",
        "2026-01-31T08:00:00.000999999Z",
        "2026-01-31T08:00:00-00:00",
    ],
)
def test_every_rfc_3339_form_of_a_moment_is_that_moment(text):
    assert parse_timestamp_ms(text) == EIGHT_O_CLOCK_MS


@pytest.mark.parametrize("text", ["2026-01-31T08:00:00", "2026-01-31T08:00:00.123"])
def test_a_naive_timestamp_is_refused_by_name(text):
    with pytest.raises(TimestampError, match="must have an offset"):
        parse_timestamp_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1769846400",
        "2026-01-31",
        "2026-W05-6T08:00:00Z",
        "20260131T080000Z",
        "2026-01-31T08:00Z",
        "2026-01-31T08:00:00+0100",
        "2026-01-31T08:00:00+01:00:30",
        "2026-01-31T08:00:00Z\n",
        "\uff12026-01-31T08:00:00Z",
        "2026-01-31T08:00:00.Z",
    ],
)
def test_other_notations_are_refused_with_an_example(text):
    with pytest.raises(TimestampError, match="RFC 3339"):
        parse_timestamp_ms(text)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T08:00:00Z",
        "2026-13-01T08:00:00Z",
        "2026-01-31T24:00:00Z",
        "2026-01-31T08:00:60Z",
        "0000-01-01T00:00:00Z",
    ],
)
def test_moments_that_never_were_are_refused(text):
    with pytest.raises(TimestampError, match="not a real moment"):
        parse_timestamp_ms(text)


@pytest.mark.parametrize("text", ["2026-01-31T08:00:00+24:00", "2026-01-31T08:00:00+01:60"])
def test_an_offset_that_is_none_is_refused_in_words_for_a_client(text):
    with pytest.raises(TimestampError, match="offset must be from -23:59 to \\+23:59"):
        parse_timestamp_ms(text)


def test_the_first_and_the_last_moment_of_the_calendar_do_not_overflow():
    assert parse_timestamp_ms("0001-01-01T00:00:00+23:59") < parse_timestamp_ms("9999-12-31T23:59:59-23:59")


@settings(deadline=None)
@given(
    st.datetimes(datetime.fromisoformat("1970-01-02"), datetime.fromisoformat("9999-12-30")),
    st.integers(min_value=-23 * 60, max_value=23 * 60),
)
def test_what_is_given_out_is_the_same_moment_in_utc_cut_to_milliseconds(local, offset_minutes):
    moment = local.replace(tzinfo=timezone(timedelta(minutes=offset_minutes)))
    given_out = format_timestamp(parse_timestamp_ms(moment.isoformat()))
    assert len(given_out) == len("2026-01-31T08:00:00.000Z")
    assert given_out.endswith("Z")
    cut = moment.astimezone(UTC)
    cut = cut.replace(microsecond=cut.microsecond // 1000 * 1000)
    assert datetime.fromisoformat(given_out) == cut


@settings(deadline=None)
@given(st.integers(min_value=-60_000_000_000_000, max_value=250_000_000_000_000))
def test_formatting_and_parsing_undo_each_other(unix_ms):
    assert parse_timestamp_ms(format_timestamp(unix_ms)) == unix_ms


def test_the_local_day_begins_at_the_machines_midnight(monkeypatch):
    monkeypatch.setenv("TZ", "UTC-05:30")  # POSIX sign: five and a half hours east
    time.tzset()
    try:
        assert format_timestamp(start_of_local_day_ms(EIGHT_O_CLOCK_MS)) == "2026-01-30T18:30:00.000Z"
        late_ms = parse_timestamp_ms("2026-01-31T18:29:59Z")
        assert format_timestamp(start_of_local_day_ms(late_ms)) == "2026-01-30T18:30:00.000Z"
        assert format_timestamp(start_of_local_day_ms(late_ms + 1000)) == "2026-01-31T18:30:00.000Z"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_hour_is_that_of_the_clocks_here(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert local_hour(EIGHT_O_CLOCK_MS) == 13
    finally:
        monkeypatch.undo()
        time.tzset()
