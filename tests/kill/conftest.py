"""A launcher as a real process, seen through its log.

Tests wait for log events with a deadline; nothing sleeps. Whatever a test leaves running is killed by pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.unit.ipc.channel import eventually

PROGRAM = Path(__file__).with_name("run_children.py")
DEADLINE_S = 60.0  # a busy machine takes its time; what never comes is told a little later, that is all
TEST_TIMEOUT_S = 300.0  # a test here may start a dozen processes, and each may take seconds
Event = dict[str, Any]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(PROGRAM.parent) and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT_S))


class Launched:
    """A launcher with tiny children, in a process group of its own."""

    def __init__(self, directory: Path, children: dict[str, str], *options: str, limits: Event | None = None) -> None:
        self.directory = directory
        self.socket = directory / "a.sock"
        command = [sys.executable, str(PROGRAM), "--children", json.dumps(children)]
        if limits:
            command += ["--limits", json.dumps(limits)]
        paths = ["--socket", str(self.socket), "--state-dir", str(directory / "state"), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *paths, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("AXON_")},
        )
        self._events: list[Event] = []
        self._rest = b""
        self.everything_said = b""

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_for(self, name: str, timeout_s: float = DEADLINE_S, **keys: Any) -> Event:
        """Return the next event of this name with these keys, each event at most once."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            for index, event in enumerate(self._events):
                if event["event"] == name and keys.items() <= event.items():
                    return self._events.pop(index)
            if not self._read_more(deadline_s):
                pytest.fail(f"no {name} {keys} within {timeout_s} s; unclaimed: {self._events}\n{self._stderr()}")

    def lines(self) -> Iterator[bytes]:
        """Yield the lines that were not read yet, as they come and as they are: for logs too long to keep.

        Whoever stops in the middle leaves what was read beyond that to the other methods.
        """
        assert self.process.stdout is not None
        lines: list[bytes] = []
        try:
            while data := os.read(self.process.stdout.fileno(), 1 << 16):
                *lines, self._rest = (self._rest + data).split(b"\n")
                while lines:
                    yield lines.pop(0)
        finally:
            self._events += map(json.loads, lines)

    def wait_for_exit(self, timeout_s: float = DEADLINE_S) -> int:
        """Return the exit code once the launcher is gone, after reading the rest of its log."""
        deadline_s = time.monotonic() + timeout_s
        while self._read_more(deadline_s):
            pass
        return self.process.wait(max(0.1, deadline_s - time.monotonic()))

    def remaining(self, name: str) -> list[Event]:
        """Return the events of this name that were read and not claimed."""
        return [event for event in self._events if event["event"] == name]

    def logged(self, is_enough: Callable[[list[Event]], bool]) -> list[Event]:
        """Return the events in the log file once they are enough: it has a thread of its own, not that of stdout."""

        def look() -> list[Event] | None:
            *lines, _unfinished = (self.directory / "state/logs/axon.jsonl").read_bytes().split(b"\n")
            events = [json.loads(line) for line in lines]
            return events if is_enough(events) else None

        found: list[Event] = eventually(look, DEADLINE_S)
        return found

    def stderr_after_exit(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def tree(self) -> list[psutil.Process]:
        """Return every process below the launcher."""
        return psutil.Process(self.pid).children(recursive=True)

    def signal_group(self, number: int) -> None:
        """Do what a terminal does at Ctrl-C."""
        os.killpg(self.pid, number)

    def files(self) -> set[str]:
        """Return what lies beside the socket, without the state directory."""
        return {path.name for path in self.directory.iterdir()} - {"state"}

    def clean_up(self) -> None:
        try:
            doomed = [*self.tree(), psutil.Process(self.pid)]
        except psutil.NoSuchProcess:
            doomed = []
        for process in doomed:
            with contextlib.suppress(psutil.NoSuchProcess):  # the launcher ends what a dead child has started
                process.send_signal(signal.SIGKILL)
        self.process.wait(DEADLINE_S)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        gone_within(doomed, DEADLINE_S)

    def _read_more(self, deadline_s: float) -> bool:
        stdout = self.process.stdout
        assert stdout is not None
        ready, _, _ = select.select([stdout], [], [], max(0.0, deadline_s - time.monotonic()))
        data = os.read(stdout.fileno(), 1 << 16) if ready else b""
        self.everything_said += data
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._events += [json.loads(line) for line in lines]
        return bool(data)

    def _stderr(self) -> str:
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        return (self.process.stderr.read() or b"").decode()


Launch = Callable[..., Launched]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short name, since a socket's path has to fit into 107 bytes."""
    path = Path(tempfile.mkdtemp(prefix="axon-"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def launch(directory: Path) -> Iterator[Launch]:
    """Start launchers: `launch({"server": "steady", "ui": "steady"}, "--option", limits={...})`."""
    launched: list[Launched] = []

    def start(children: dict[str, str], *options: str, at: Path = directory, limits: Event | None = None) -> Launched:
        launched.append(Launched(at, children, *options, limits=limits))
        return launched[-1]

    yield start
    for each in launched:
        each.clean_up()


def wait_until_stopped(process: psutil.Process) -> None:
    """Wait until SIGSTOP has had its effect: nothing tells of that, so it is looked at."""
    eventually(lambda: process.status() == psutil.STATUS_STOPPED, DEADLINE_S)


def in_a_quiet_moment(attempt: Callable[[], bool]) -> bool:
    """Try up to three times what a limit of time is promised for: this machine may be busy with something else."""
    return any(attempt() for _ in range(3))


def is_gone_in_time(processes: list[psutil.Process]) -> bool:
    """Tell whether all are gone within the second that is promised; gone they have to be in any case."""
    are_late = bool(gone_within(processes, 1.0))
    assert gone_within(processes, DEADLINE_S) == []
    return not are_late


def gone_within(processes: list[psutil.Process], timeout_s: float) -> list[int]:
    """Return the pids of those that still run after `timeout_s`.

    By pidfd: it tells the death itself, however late an init that adopted the process gets round to reaping it.
    """
    deadline_s = time.monotonic() + timeout_s
    return [process.pid for process in processes if not _is_dead_by(process, deadline_s)]


def _is_dead_by(process: psutil.Process, deadline_s: float) -> bool:
    if not process.is_running():  # also when its pid is another's by now
        return True
    try:
        descriptor = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))[0])
    finally:
        os.close(descriptor)
