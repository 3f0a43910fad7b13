"""A child that prints without end: it goes on, the launcher stays small and awake, and every line is accounted for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from ipc import SocketClient
from ipc.authkey import key_path, load_key
from tests.kill.conftest import DEADLINE_S, Event, Launch, Launched, gone_within
from tests.unit.ipc.channel import eventually, run_together

MAX_GROWTH_BYTES = 16 << 20
LONG_S = 60.0
FLOODS = ["flooding", "flooding_without_newlines"]


def entry(name: str) -> dict[str, str]:
    return {"server": f"tests.kill.log_children:{name}"}


class Watch:
    """Looks at a launcher while it works: how large it gets, and whether it answers."""

    def __init__(self, launched: Launched) -> None:
        self._launcher = psutil.Process(launched.pid)
        self._address = str(launched.socket.with_name("a-control.sock"))
        self._key = load_key(key_path(str(launched.socket)))
        self._is_over = threading.Event()
        self._before_bytes = self._most_bytes = self._launcher.memory_info().rss
        self.answers = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_until_answered(self) -> Watch:
        """Wait for the first answer: from now on it looks often."""
        eventually(lambda: self.answers, DEADLINE_S)
        return self

    def end(self) -> None:
        """Stop watching; that our client has left is in the log."""
        self._is_over.set()
        self._thread.join()

    @property
    def growth_bytes(self) -> int:
        """By how much it has grown at most."""
        return self._most_bytes - self._before_bytes

    def _run(self) -> None:
        client = SocketClient(self._address, authkey=self._key, name="watch")
        client.start()
        try:
            while not self._is_over.wait(0.01):
                self._most_bytes = max(self._most_bytes, self._launcher.memory_info().rss)
                assert client.request({"type": "status"}, DEADLINE_S)["children"]
                self.answers += 1
        finally:
            client.stop()


class Account(msgspec.Struct):
    """How many events of each name there are; how many lines were dropped, and of these how many for want of room."""

    names: Counter[str]
    dropped: int = 0
    had_no_room: int = 0


def told(lines: Iterator[bytes]) -> Account:
    """Return what some lines tell."""
    account = Account(Counter())
    for line in lines:
        if b'"event":"child_output"' in line:
            account.names["child_output"] += 1  # most of them by far: no need to decode each
            continue
        event = json.loads(line)
        account.names[event["event"]] += 1
        if event["event"] == "log_lines_dropped":
            account.dropped += event["count"]
            account.had_no_room += event["count"] if "target" in event else 0
    return account


def assert_is_complete(account: Account, name: str, count: int) -> None:
    """Check that so many lines of a name are there or counted. For want of room others may be missing as well."""
    assert 0 <= account.names[name] + account.dropped - count <= account.had_no_room


def read_until(launched: Launched, name: str, then: Callable[[], None] = lambda: None) -> tuple[Account, Event]:
    """Read the log up to an event, and what comes of `then` and of a stop; return what it tells, and the event.

    That is followed over the control plane: from stdout, should we read it too slowly, the event may be missing.
    """
    accounts: list[Account] = []
    events: list[Event] = []

    def follow() -> None:
        try:
            events.append(Follower(launched).wait_for(name))
            then()
        finally:
            launched.process.terminate()

    run_together(follow, lambda: accounts.append(told(launched.lines())))
    assert launched.wait_for_exit() == 0
    return accounts[0], events[0]


def begin_flood(launched: Launched) -> Watch:
    """Have a child that waits for that flood the log; return what watches the launcher meanwhile."""
    pid = launched.wait_for("child_started")["child_pid"]
    launched.wait_for("flood_waits")
    watch = Watch(launched).wait_until_answered()
    os.kill(pid, signal.SIGUSR1)
    return watch


def files(launched: Launched) -> Iterator[bytes]:
    """Yield the lines of all log files, the oldest first."""
    directory = launched.directory / "state/logs"
    numbers = sorted((int(path.suffix[1:]) for path in directory.glob("axon.jsonl.*")), reverse=True)
    for path in (*(directory / f"axon.jsonl.{number}" for number in numbers), directory / "axon.jsonl"):
        yield from path.read_bytes().splitlines()


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_blocks_nobody_and_every_line_is_written_or_counted(launch: Launch, flood: str) -> None:
    launched = launch(entry(flood))
    watch = begin_flood(launched)

    account, finished = read_until(launched, "flood_finished", watch.end)

    assert_is_complete(account, "child_output", finished["lines"])
    assert_is_complete(told(files(launched)), "child_output", finished["lines"])
    assert finished["took_s"] < LONG_S
    assert watch.growth_bytes < MAX_GROWTH_BYTES
    assert watch.answers > 5


class Follower:
    """A client that follows the log over the control plane."""

    def __init__(self, launched: Launched) -> None:
        self._found = threading.Event()
        self.wanted = ""
        self.event: dict[str, Any] = {}
        address = launched.socket.with_name("a-control.sock")
        self.client = SocketClient(str(address), authkey=load_key(key_path(str(launched.socket))), name="test")
        self.client.add_message_handler(self._take)

    def _take(self, payload: dict[str, Any]) -> None:
        for event in payload.get("events", ()):
            if event["event"] == self.wanted and not self._found.is_set():
                self.event = event
                self._found.set()

    def wait_for(self, name: str) -> dict[str, Any]:
        self.wanted = name
        self.client.start()
        self.client.request({"type": "tail", "lines": 2000}, DEADLINE_S)
        try:
            assert self._found.wait(2 * LONG_S)
        finally:
            self.client.stop()
        return self.event


def test_a_flood_behind_a_terminal_that_stands_still_blocks_nobody(launch: Launch) -> None:
    launched = launch(entry("flooding"))
    watch = begin_flood(launched)  # and from here on nobody reads stdout

    finished = Follower(launched).wait_for("flood_finished")

    watch.end()
    assert watch.growth_bytes < MAX_GROWTH_BYTES
    assert finished["took_s"] < LONG_S
    on_stdout = entries(lines_of(launched))
    assert launched.wait_for_exit() == 0
    assert sum(on_stdout) == sum(entries(files(launched)))
    assert on_stdout[1] > 1000
    # The file is not the terminal's hostage.
    assert_is_complete(told(files(launched)), "child_output", finished["lines"])


def entries(lines: Iterator[bytes]) -> tuple[int, int]:
    """Return how many lines a writer has written, and how many it had no room for."""
    written = dropped = 0
    for line in lines:
        event = json.loads(line) if b'"event":"log_lines_dropped"' in line else {}
        if "target" in event:
            dropped += event["count"]
        else:
            written += 1
    return written, dropped


def lines_of(launched: Launched) -> Iterator[bytes]:
    """Yield what the launcher has written to stdout in all. It is ended once all that has queued up is written."""
    yield from (json.dumps(event).replace(": ", ":").encode() for event in launched._events)
    yield from (b'{"event":"child_started"}', b'{"event":"flood_waits"}')  # which have been claimed
    for line in launched.lines():
        yield line
        if b'"event":"peer_left"' in line and b'"peer":"watch-' in line:
            launched.process.terminate()


def test_rotation_loses_none_of_two_hundred_thousand_lines(launch: Launch) -> None:
    launched = launch(entry("counting"))
    launched.wait_for("child_started")
    read_until(launched, "child_working")

    numbers = [json.loads(line)["number"] for line in files(launched) if b'"event":"counted"' in line]
    assert numbers == sorted(set(numbers))
    assert_is_complete(told(files(launched)), "counted", 200_000)  # for the disk may have been too slow
    assert (launched.directory / "state/logs/axon.jsonl.1").exists()


def test_last_words_and_dump_survive_a_flood(launch: Launch) -> None:
    launched = launch(entry("dying_in_a_flood"), limits={"intensity": 1})
    launched.wait_for("child_started")
    for line in launched.lines():
        if b'"event":"child_exited"' in line:
            break
    launched.process.terminate()
    assert launched.wait_for_exit() == 0

    # In the file: while we read stdout too slowly, it has no room for what is not known yet to be a last word.
    events = [json.loads(line) for line in files(launched) if b"xxxxxxxxxx" not in line]
    assert sum(event["event"] == "log_lines_dropped" for event in events) > 0
    texts = [event.get("text") for event in events]
    assert texts.count("last words") == 1
    assert texts.index("last words") < texts.index("Fatal Python error: Aborted")
    assert any("in dying_in_a_flood" in text for text in texts if text)
    assert [event["signal"] for event in events if event["event"] == "child_exited"] == ["SIGABRT"]


def test_head_ends_the_tree_without_a_word(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "steady"})
    launched.wait_for("child_working", proc="server")
    tree = launched.tree()
    assert launched.process.stdout is not None

    launched.process.stdout.close()  # and nothing more is logged by itself

    assert launched.process.wait(DEADLINE_S) == 0
    assert launched.stderr_after_exit() == ""
    assert gone_within(tree, DEADLINE_S) == []
    assert launched.files() == set()


def test_head_in_a_shell(launch: Launch, directory: Path) -> None:
    program = launch({"server": "steady", "ui": "steady"}).process.args
    at = directory / "second"
    at.mkdir()
    command = [str(part).replace(str(directory), str(at)) for part in program]  # type: ignore[union-attr]
    script = ["/bin/bash", "-c", '"$@" | head -1; echo "${PIPESTATUS[@]}"', "bash"]

    found = subprocess.run([*script, *command], capture_output=True, text=True, timeout=DEADLINE_S, check=True)

    first, statuses = found.stdout.splitlines()
    assert json.loads(first)["proc"] == "launcher"
    assert (statuses, found.stderr) == ("0 0", "")
    assert {path.name for path in at.iterdir()} == {"state"}
