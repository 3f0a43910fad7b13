"""Lines to events and back: whatever it is, it becomes one line of JSON that can be read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.log_events import Origin, decode, events_of, to_line

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
