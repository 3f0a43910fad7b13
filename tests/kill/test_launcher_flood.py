"""A child that prints without end: it goes on, the launcher stays small and awake, and every line is accounted for."""

from __future__ import annotations

import json
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ipc import SocketClient
from ipc.authkey import key_path, load_key
from tests.kill.conftest import DEADLINE_S, Launch, Launched, gone_within

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

    def growth_bytes(self) -> int:
        """Stop watching; return by how much it has grown at most."""
        self._is_over.set()
        self._thread.join()
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


def told(lines: Iterator[bytes]) -> tuple[Counter[str], int]:
    """Return how many events of each name there are, and the sum of the dropped ones."""
    names: Counter[str] = Counter()
    dropped = 0
    for line in lines:
        if b'"event":"child_output"' in line:
            names["child_output"] += 1  # most of them by far: no need to decode each
            continue
        event = json.loads(line)
        names[event["event"]] += 1
        if event["event"] == "log_lines_dropped":
            dropped += event["count"]
    return names, dropped


def until(launched: Launched, name: str) -> Iterator[bytes]:
    """Yield the launcher's lines up to one event."""
    for line in launched.lines():
        yield line
        if f'"event":"{name}"'.encode() in line:
            return
    pytest.fail(f"the log ended before {name}: {launched.stderr_after_exit()}")


def files(launched: Launched) -> Iterator[bytes]:
    """Yield the lines of all log files, the oldest first."""
    directory = launched.directory / "state/logs"
    numbers = sorted((int(path.suffix[1:]) for path in directory.glob("axon.jsonl.*")), reverse=True)
    for path in (*(directory / f"axon.jsonl.{number}" for number in numbers), directory / "axon.jsonl"):
        yield from path.read_bytes().splitlines()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_blocks_nobody_and_every_line_is_written_or_counted(launch: Launch, flood: str) -> None:
    launched = launch(entry(flood))
    launched.wait_for("child_started")
    watch = Watch(launched)
    already = launched.remaining("child_output")

    *lines, last = until(launched, "flood_finished")
    growth_bytes = watch.growth_bytes()
    finished = json.loads(last)
    launched.process.terminate()
    lines += launched.lines()
    assert launched.wait_for_exit() == 0

    names, dropped = told(iter(lines))
    assert len(already) + names["child_output"] + dropped == finished["lines"]
    names, dropped = told(files(launched))
    assert names["child_output"] + dropped == finished["lines"]
    assert finished["took_s"] < LONG_S
    assert growth_bytes < MAX_GROWTH_BYTES
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
        assert self._found.wait(LONG_S)
        self.client.stop()
        return self.event


@pytest.mark.timeout(180)
def test_a_flood_behind_a_terminal_that_stands_still_blocks_nobody(launch: Launch) -> None:
    launched = launch(entry("flooding"))
    launched.wait_for("child_started")  # and from here on nobody reads stdout
    watch = Watch(launched)

    finished = Follower(launched).wait_for("flood_finished")

    assert watch.growth_bytes() < MAX_GROWTH_BYTES
    assert finished["took_s"] < LONG_S
    launched.process.terminate()
    on_stdout = entries(lines_of(launched))
    assert launched.wait_for_exit() == 0
    assert sum(on_stdout) == sum(entries(files(launched)))
    assert on_stdout[1] > 1000
    names, dropped = told(files(launched))
    assert names["child_output"] + dropped == finished["lines"], "the file is not the terminal's hostage"


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
    """Yield what the launcher has written to stdout in all, and writes until it is gone."""
    yield from (json.dumps(event).replace(": ", ":").encode() for event in launched._events)
    yield b'{"event":"child_started"}'  # which has been claimed
    yield from launched.lines()


@pytest.mark.timeout(180)
def test_rotation_loses_none_of_two_hundred_thousand_lines(launch: Launch) -> None:
    launched = launch(entry("counting"))
    launched.wait_for("child_started")
    for _ in until(launched, "child_working"):
        pass
    launched.process.terminate()
    assert launched.wait_for_exit() == 0

    numbers = [json.loads(line)["number"] for line in files(launched) if b'"event":"counted"' in line]
    assert numbers == list(range(200_000))
    assert (launched.directory / "state/logs/axon.jsonl.1").exists()


@pytest.mark.timeout(180)
def test_last_words_and_dump_survive_a_flood(launch: Launch) -> None:
    launched = launch(entry("dying_in_a_flood"), limits={"intensity": 1})
    launched.wait_for("child_started")
    lines = [line for line in until(launched, "child_exited") if b"xxxxxxxxxx" not in line]

    events = [json.loads(line) for line in lines]
    assert sum(event["event"] == "log_lines_dropped" for event in events) > 0
    texts = [event.get("text") for event in events]
    assert texts.count("last words") == 1
    assert texts.index("last words") < texts.index("Fatal Python error: Aborted")
    assert any("in dying_in_a_flood" in text for text in texts if text)
    assert events[-1]["signal"] == "SIGABRT"


def test_head_ends_the_tree_without_a_word(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "steady"})
    launched.wait_for("child_working", proc="server")
    tree = launched.tree()
    assert launched.process.stdout is not None

    launched.process.stdout.close()  # and nothing more is logged by itself

    assert launched.process.wait(DEADLINE_S) == 0
    assert launched.stderr_after_exit() == ""
    assert gone_within(tree, 1.0) == []
    assert launched.files() == set()


def test_head_in_a_shell(launch: Launch, directory: Path) -> None:
    program = launch({"server": "steady", "ui": "steady"}).process.args
    at = directory / "second"
    at.mkdir()
    command = [str(part).replace(str(directory), str(at)) for part in program]  # type: ignore[union-attr]
    script = ["/bin/bash", "-c", '"$@" | head -1; echo "${PIPESTATUS[@]}"', "bash"]

    found = subprocess.run([*script, *command], capture_output=True, text=True, timeout=30, check=True)

    first, statuses = found.stdout.splitlines()
    assert json.loads(first)["proc"] == "launcher"
    assert (statuses, found.stderr) == ("0 0", "")
    assert {path.name for path in at.iterdir()} == {"state"}
