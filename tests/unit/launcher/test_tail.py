"""What `tail` makes of the messages that it is sent."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ipc import ClientState, RequestError
from launcher.errors import LauncherError
from launcher.log_file import RenderedStream
from launcher.tail import Tail


class FakeClient:
    """A client whose server sends `messages` when the log is asked for."""

    def __init__(self, *messages: dict[str, Any]) -> None:
        self.messages = messages
        self.requests: list[dict[str, Any]] = []
        self.handlers: list[Any] = []
        self.state_handlers: list[Any] = []
        self.error: RequestError | None = None
        self.is_stopped = False

    def add_message_handler(self, handler: Any) -> None:
        self.handlers.append(handler)

    def add_state_handler(self, handler: Any) -> None:
        self.state_handlers.append(handler)

    def request(self, payload: dict[str, Any], _timeout_s: float) -> dict[str, Any]:
        self.requests.append(payload)
        if self.error is not None:
            raise self.error
        self.send_all()
        return {"type": "accepted"}

    def send_all(self) -> None:
        """Have the messages arrive, and then the end of the connection."""
        for message in self.messages:
            self.handlers[0](message)
        self.state_handlers[0](ClientState(kind="connecting"))

    def begin_request(self, payload: dict[str, Any], _on_reply: Any) -> int:
        self.requests.append(payload)
        return 1

    def stop(self) -> None:
        self.is_stopped = True


def log(seq: int, count: int, missed: int = 0) -> dict[str, Any]:
    """Return the message with the lines up to number `seq`."""
    events = [{"event": "n", "n": number} for number in range(seq - count + 1, seq + 1)]
    return {"type": "log", "seq": seq, "missed": missed, "events": events}


@pytest.fixture
def ended_launcher() -> Iterator[int]:
    """A descriptor that is readable, as the pidfd of a process that is gone."""
    reader, writer = os.pipe()
    os.close(writer)
    yield reader
    os.close(reader)


def shown(client: FakeClient, launcher: int, lines: int = 20) -> list[Any]:
    """Run a tail until the launcher's end; return what it shows: numbers, and events of its own."""
    reader, writer = os.pipe()
    try:
        Tail(client, RenderedStream(writer), writer).run(lines, launcher)  # type: ignore[arg-type]
    finally:
        os.close(writer)
    with open(reader) as output:
        events = [json.loads(line) for line in output]
    return [event["n"] if event["event"] == "n" else (event["event"], event["count"]) for event in events]


def test_lines_are_shown_as_they_come(ended_launcher: int) -> None:
    client = FakeClient(log(3, 2), {"type": "children", "children": []}, log(4, 1))

    assert shown(client, ended_launcher, 2) == [2, 3, 4]
    assert client.requests == [{"type": "tail", "lines": 2}]
    assert client.is_stopped


def test_what_is_still_on_its_way_when_the_launcher_ends_is_shown_too(ended_launcher: int) -> None:
    client = FakeClient(log(2, 2))
    late = threading.Timer(0.5, client.send_all)
    client.send_all = late.start  # type: ignore[method-assign]
    client.stop = late.join  # type: ignore[method-assign]  # nothing comes from a client that was stopped

    assert shown(client, ended_launcher) == [1, 2]


def test_no_more_is_asked_for_than_there_can_be(ended_launcher: int) -> None:
    client = FakeClient()
    shown(client, ended_launcher, 10**30)

    assert client.requests == [{"type": "tail", "lines": 2000}]


def test_a_gap_is_said_and_what_came_before_the_beginning_is_none(ended_launcher: int) -> None:
    client = FakeClient(log(30, 2, missed=9), log(50, 3, missed=17))

    assert shown(client, ended_launcher) == [29, 30, ("log_lines_missed", 17), 48, 49, 50]


def test_a_gap_that_a_broken_connection_has_left_is_said(ended_launcher: int) -> None:
    """The launcher sends all that it still has, and counts from there."""
    assert shown(FakeClient(log(3, 3), log(50, 2)), ended_launcher) == [1, 2, 3, ("log_lines_missed", 45), 49, 50]


def test_a_line_that_is_sent_again_is_shown_once(ended_launcher: int) -> None:
    assert shown(FakeClient(log(3, 3), log(2, 2), log(5, 5)), ended_launcher) == [1, 2, 3, 4, 5]


def test_after_a_broken_connection_it_asks_again() -> None:
    client = FakeClient()
    tail = Tail(client, RenderedStream(1), 1)  # type: ignore[arg-type]
    tail._follow_again(ClientState(kind="live"))
    tail._follow_again(ClientState(kind="connecting"))
    tail._close()
    tail._follow_again(ClientState(kind="live"))

    assert client.requests == [{"type": "tail", "lines": 2000}]


def test_a_refusal_is_an_error_for_the_operator(ended_launcher: int) -> None:
    client = FakeClient()
    client.error = RequestError("stopping", "the launcher is stopping")

    with pytest.raises(LauncherError, match="tail: the launcher is stopping"):
        shown(client, ended_launcher)
    assert client.is_stopped


def test_it_ends_when_nobody_reads() -> None:
    reader, writer = os.pipe()
    still_there = os.pipe()
    os.close(reader)
    try:
        Tail(FakeClient(log(1, 1)), RenderedStream(writer), writer).run(1, still_there[0])  # type: ignore[arg-type]
    finally:
        for descriptor in (writer, *still_there):
            os.close(descriptor)


def test_a_full_disk_behind_stdout_is_an_error_for_the_operator(ended_launcher: int) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(LauncherError, match="No space left"):
            Tail(FakeClient(log(1, 1)), RenderedStream(full), full).run(1, ended_launcher)  # type: ignore[arg-type]
    finally:
        os.close(full)
