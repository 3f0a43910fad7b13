"""Lines to events and back: whatever it is, it becomes one line of JSON that can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.log_events import Origin, decode, events_of, to_line, utc_now

SERVER = Origin("server", 4711)
NOW = "2026-01-31T08:00:00.000000Z"


@given(line=st.binary(max_size=200) | st.text().map(lambda text: json.dumps({"event": text}).encode()))
def test_every_line_becomes_events_that_can_be_read(line: bytes) -> None:
    events = events_of(line, SERVER, NOW)

    assert bool(events) == bool(line.strip())
    for event in events:
        read = decode(to_line(event, SERVER, "r"))
        assert (read["proc"], read["pid"], read["run_id"]) == ("server", 4711, "r")
        assert read["timestamp"]
        assert read["level"]


@pytest.mark.parametrize("value", [2**70, float("nan"), object(), {1, 2}, b"\xff", "\ud800", {"\ud800": [1]}, {1: 2}])
def test_an_event_with_anything_in_it_is_a_line_of_json(value: Any) -> None:
    line = to_line({"event": "odd", "value": value}, SERVER, "r")

    assert b"\n" not in line
    assert decode(line)["event"] == "odd"
    assert json.loads(line)["event"] == "odd"


def said(line: bytes) -> list[tuple[Any, Any]]:
    return [(event["event"], event.get("text")) for event in events_of(line, SERVER, NOW)]


def test_an_event_behind_something_that_was_printed_is_found() -> None:
    assert said(b'half a line{"event":"born"}') == [("child_output", "half a line"), ("born", None)]
    assert said(b' \t{"event":"born"}') == [("born", None)]
    assert said(b'half a line{"event":5}') == [("child_output", 'half a line{"event":5}')]


@pytest.mark.parametrize("line", [b'{"event":', b'{"event":5}', b"{\xff", b'{"a":' * 5000, b"[1]"])
def test_what_is_no_event_is_output(line: bytes) -> None:
    assert [event["event"] for event in events_of(line, SERVER, NOW)] == ["child_output"]


@pytest.mark.parametrize(
    ("timestamp", "told"),
    [
        ("2026-01-31T07:59:59.123456Z", "2026-01-31T07:59:59.123456Z"),
        ("2026-01-31T09:00:00+01:00", NOW),
        ("2026-01-31T07:00:00", NOW),
        ("0001-01-01T00:00:00+23:59", NOW),
        ("yesterday", NOW),
        (5, NOW),
        (None, NOW),
    ],
)
def test_a_childs_own_time_is_kept_in_utc(timestamp: Any, told: str) -> None:
    [event] = events_of(json.dumps({"event": "e", "timestamp": timestamp}).encode(), SERVER, NOW)
    assert event["timestamp"] == told


@pytest.mark.parametrize(("level", "told"), [("error", "error"), ("loud", "info"), (7, "info")])
def test_a_level_that_is_none_is_info(level: Any, told: str) -> None:
    [event] = events_of(json.dumps({"event": "e", "level": level}).encode(), SERVER, NOW)
    assert event["level"] == told


def test_the_time_now_is_told_as_every_time_is() -> None:
    assert len(utc_now()) == len(NOW)
    assert utc_now().endswith("Z")


def test_an_event_that_no_text_can_hold_is_told_as_far_as_it_goes() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    told = decode(to_line({"event": "deep", "value": deep, "yes": True}, SERVER, "r"))
    assert (told["value"], told["yes"]) == ("nested too deeply", True)
