"""What becomes of a line of a child, and of the launcher's own events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from launcher.log_writer import LogTarget, LogWriter
from launcher.logs import LogPipeline, Origin, decoded

SERVER = Origin("server", 4711)


class Collected:
    """A pipeline whose lines end up in a list."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.pipeline = LogPipeline("run1")
        target = LogTarget(
            name="list",
            write=self.lines.extend,
            count_line=self.pipeline.count_line,
            on_failure=lambda _name, _error: False,
            max_bytes=1 << 20,
        )
        self.pipeline.start([LogWriter(target)])

    def events(self) -> list[dict[str, Any]]:
        self.pipeline.close(5)
        return [json.loads(line) for line in self.lines]

    def of(self, *lines: bytes) -> list[dict[str, Any]]:
        self.pipeline.child_lines(SERVER, lines)
        return self.events()


@pytest.fixture
def collected() -> Iterator[Collected]:
    it = Collected()
    yield it
    it.pipeline.close(5)


def test_an_event_is_merged_with_where_it_comes_from(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"mark_stored","level":"info","timestamp":"2026-01-31T08:00:00Z","seq":3}')

    assert list(event) == ["timestamp", "level", "event", "proc", "pid", "run_id", "seq"]
    assert (event["proc"], event["pid"], event["run_id"], event["seq"]) == ("server", 4711, "run1", 3)


def test_an_event_without_time_or_level_gets_them(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"x"}')

    assert event["timestamp"].endswith("Z")
    assert event["level"] == "info"


def test_a_child_cannot_pass_for_another_process(collected: Collected) -> None:
    (event,) = collected.of(b'{"event":"x","proc":"launcher","pid":1,"run_id":"other"}')

    assert (event["proc"], event["pid"], event["run_id"]) == ("server", 4711, "run1")


@pytest.mark.parametrize(
    "line",
    [
        b"plain text",
        b'{"event": "torn',
        b'{"no": "event"}',
        b'{"event": 7}',
        b'["event"]',
        b"{" * 5000,
        b'{"event": "\xff"}',
    ],
)
def test_anything_else_is_output_with_its_text(collected: Collected, line: bytes) -> None:
    (event,) = collected.of(line)

    assert (event["event"], event["child"], event["child_pid"]) == ("child_output", "server", 4711)
    assert event["text"] == line.decode(errors="backslashreplace")


def test_blank_lines_are_nothing(collected: Collected) -> None:
    assert collected.of(b"", b"  ", b"\t") == []


def test_an_event_glued_to_unfinished_output_is_cut_off_it(collected: Collected) -> None:
    output, event = collected.of(b'50 %{"event":"done"}')

    assert output["text"] == "50 %"
    assert event["event"] == "done"


def test_secrets_do_not_pass(collected: Collected) -> None:
    (event,) = collected.of(
        b'{"event":"x","authkey":"5ec2e7","peer":{"device_key":"5ec2e7"},"list":[{"token":"5ec2e7"}]}'
    )

    assert "5ec2e7" not in json.dumps(event)
    assert event["authkey"] == "[redacted]"


def test_the_launchers_own_events_take_the_same_way(collected: Collected) -> None:
    before = structlog.get_config()
    collected.pipeline.configure_structlog("info")
    try:
        log = structlog.get_logger()
        log.debug("too_quiet")
        log.info("launcher_ready", url="http://x", strange=object, odd="\ud800")
        try:
            raise ValueError("deep")
        except ValueError:
            log.exception("launcher_crashed", authkey="5ec2e7")
    finally:
        structlog.configure(**before)
    ready, crashed = collected.events()

    assert (ready["event"], ready["proc"], ready["pid"], ready["level"]) == (
        "launcher_ready",
        "launcher",
        os.getpid(),
        "info",
    )
    assert ready["timestamp"].endswith("Z")
    assert "ValueError: deep" in crashed["exception"]
    assert "5ec2e7" not in json.dumps(crashed)


def test_lines_that_had_no_room_are_counted_in_an_event(collected: Collected) -> None:
    event = json.loads(collected.pipeline.count_line("stdout", 12))

    assert (event["event"], event["target"], event["count"]) == ("log_lines_dropped", "stdout", 12)


def test_a_renderer_of_events_reads_lines() -> None:
    assert decoded(lambda event: event["event"] + "\ud800")(b'{"event":"x"}') == b"x\\ud800"
