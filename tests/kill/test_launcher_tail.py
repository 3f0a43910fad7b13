"""`tail`: the log of a running launcher, from another terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.kill.conftest import DEADLINE_S, Launch, Launched, wait_until_stopped
from tests.kill.test_launcher_control import RUN, run
from tests.kill.test_launcher_flood import Follower

BOTH = {"server": "steady", "ui": "steady"}


class Tail:
    """A `tail` command, and what it has printed."""

    def __init__(self, launched: Launched, *options: str, stdout: int = subprocess.PIPE) -> None:
        command = [sys.executable, str(RUN), "tail", *options, "--socket", str(launched.socket)]
        self.process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE, start_new_session=True)
        self.events: list[dict[str, Any]] = []
        self._found = 0
        self._rest = b""

    def wait_for(self, name: str, **keys: Any) -> dict[str, Any]:
        """Return the next event of this name with these keys, after the one that was found before."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            while self._found < len(self.events):
                event = self.events[self._found]
                self._found += 1
                if event["event"] == name and keys.items() <= event.items():
                    return event
            if not self.read(deadline_s):
                pytest.fail(f"no {name} {keys} in {self.events[-30:]}")

    def read(self, deadline_s: float) -> bool:
        stdout = self.process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], max(0.0, deadline_s - time.monotonic()))
        data = os.read(stdout.fileno(), 1 << 16) if ready else b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self.events += map(json.loads, lines)
        return bool(data)

    def end(self) -> tuple[int, str]:
        """Wait for the end; return exit code and stderr."""
        code = self.process.wait(DEADLINE_S)
        assert self.process.stderr is not None
        return code, self.process.stderr.read().decode()


StartTail = Callable[..., Tail]


@pytest.fixture
def tail() -> Iterator[StartTail]:
    tails: list[Tail] = []

    def start(launched: Launched, *options: str, stdout: int = subprocess.PIPE) -> Tail:
        tails.append(Tail(launched, *options, stdout=stdout))
        return tails[-1]

    yield start
    for each in tails:
        each.process.kill()
        each.process.wait()
        for stream in (each.process.stdout, each.process.stderr):
            if stream is not None:
                stream.close()


def test_the_last_lines_come_first_and_then_what_happens(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    it = tail(launched, "-n", "1000")
    first = it.wait_for("launcher_ready")
    assert it.events[0]["event"] == "ui_offscreen", "from the very beginning"
    assert list(first)[:6] == ["timestamp", "level", "event", "proc", "pid", "run_id"]

    assert run(launched, "restart", "ui").returncode == 0

    it.wait_for("restart_requested")
    it.wait_for("child_ready", child="ui")
    log = launched.logged(lambda events: len(events) >= len(it.events))
    assert it.events == log[: len(it.events)], "each line once, in order, as it is"


@pytest.mark.parametrize(("options", "at_most"), [((), 20), (("-n", "3"), 3)])
def test_so_many_lines_of_the_past_are_shown(
    launch: Launch, tail: StartTail, options: tuple[str, ...], at_most: int
) -> None:
    launched = launch({"server": "chattering"})
    launched.wait_for("launcher_ready")
    launched.wait_for("child_working")  # the last of what it chatters has been read
    launched.wait_for("spare_ready")
    it = tail(launched, *options)
    joined = it.wait_for("peer_joined", peer_pid=it.process.pid)

    assert at_most - 3 <= it.events.index(joined) < at_most, "it is among the last when it asks for them"


def test_the_past_can_be_left_out(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    it = tail(launched, "-n", "0")
    launched.wait_for("peer_joined", peer_pid=it.process.pid)
    while run(launched, "restart", "ui").returncode == 0 and not it.read(0):
        launched.wait_for("child_ready", child="ui")

    assert it.process.pid not in [event.get("peer_pid") for event in it.events]


def test_it_ends_when_the_launcher_does_and_has_told_why(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    it = tail(launched)
    it.wait_for("peer_joined", peer_pid=it.process.pid)

    launched.process.terminate()

    it.wait_for("shutdown_started")
    it.wait_for("child_exited", child="server")
    assert it.end() == (0, "")


def test_it_ends_when_the_launcher_is_killed(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    it = tail(launched)
    it.wait_for("peer_joined", peer_pid=it.process.pid)

    launched.process.kill()

    assert it.end() == (0, "")


def test_it_ends_at_ctrl_c_without_a_traceback(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    it = tail(launched)
    it.wait_for("peer_joined", peer_pid=it.process.pid)

    it.process.send_signal(signal.SIGINT)

    assert it.end() == (130, "\n"), "the line that the terminal began with ^C"
    launched.wait_for("peer_left")


def test_it_ends_when_nobody_reads_it_any_more_though_nothing_is_logged(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    it = tail(launched)
    it.wait_for("peer_joined", peer_pid=it.process.pid)
    assert it.process.stdout is not None

    it.process.stdout.close()

    assert it.end() == (0, "")


def test_a_tail_that_stands_still_slows_nobody_and_is_told_what_it_missed(launch: Launch, tail: StartTail) -> None:
    launched = launch({"server": "tests.kill.log_children:flooding"})
    pid = launched.wait_for("child_started")["child_pid"]
    launched.wait_for("flood_waits")
    it = tail(launched)
    it.wait_for("flood_waits")  # it follows
    it.process.send_signal(signal.SIGSTOP)
    wait_until_stopped(psutil.Process(it.process.pid))
    os.kill(pid, signal.SIGUSR1)

    finished = Follower(launched).wait_for("flood_finished")
    it.process.send_signal(signal.SIGCONT)

    it.wait_for("log_lines_missed")
    it.wait_for("child_working")
    assert sum(event["count"] for event in it.events if event["event"] == "log_lines_missed") > 1000
    assert finished["took_s"] < 60
    launched.process.terminate()
    assert launched.wait_for_exit() == 0
    it.wait_for("child_exited")
    assert it.end() == (0, "")


def _on_terminal(launched: Launched, tail: StartTail, *options: str) -> str:
    """Return what `tail` shows on a terminal until it has shown itself."""
    master, slave = pty.openpty()
    it = tail(launched, *options, stdout=slave)
    os.close(slave)
    shown = b""
    deadline_s = time.monotonic() + DEADLINE_S
    who_joined_last = rb'peer_pid"?[=:]%d\b' % it.process.pid
    while not re.search(who_joined_last, re.sub(rb"\x1b\[[0-9;]*m", b"", shown)):
        assert select.select([master], [], [], max(0.0, deadline_s - time.monotonic()))[0], shown
        shown += os.read(master, 1 << 16)
    it.process.send_signal(signal.SIGINT)
    assert it.end()[0] == 130
    os.close(master)
    return shown.decode()


def test_a_terminal_shows_it_for_people(launch: Launch, tail: StartTail, monkeypatch: pytest.MonkeyPatch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    monkeypatch.delenv("NO_COLOR", raising=False)

    assert "\x1b[1;32mlauncher_ready" in _on_terminal(launched, tail)
    assert '"event":"launcher_ready"' in _on_terminal(launched, tail, "--json")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = _on_terminal(launched, tail, "-n", "100")
    assert "\x1b" not in plain
    assert "launcher_ready     http://" in plain


@pytest.mark.parametrize("lines", ["-1", "many"])
def test_a_number_of_lines_is_needed(lines: str, directory: Path) -> None:
    command = [sys.executable, str(RUN), "tail", "-n", lines, "--socket", str(directory / "a.sock")]
    found = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)

    assert (found.returncode, found.stdout) == (2, "")
    assert "'-n' / '--lines'" in found.stderr


def test_the_log_is_sent_to_nobody_who_has_not_asked(launch: Launch, tail: StartTail) -> None:
    launched = launch(BOTH, "--log-level", "debug")
    launched.wait_for("launcher_ready")
    it = tail(launched)
    it.wait_for("peer_joined", peer_pid=it.process.pid)
    run(launched, "restart", "ui")
    it.wait_for("child_ready", child="ui")

    assert not [event for event in it.events if event.get("type") == "log"], "or it would feed on itself"
