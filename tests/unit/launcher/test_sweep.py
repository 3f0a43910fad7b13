"""Finding processes by their mark, and killing those alone."""

from __future__ import annotations

import os
import resource
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from launcher import sweep
from launcher.sweep import kill_marked, mark_of

RLIMIT_LOCKS = 10
MINE = (1 << 62) + 2 * secrets.randbits(60)  # of this run: another on the same machine is not to be swept
MARKS = range(MINE, MINE + 1)
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes with a mark: `start(mark, *command)`."""
    started: list[subprocess.Popen[bytes]] = []

    def start(mark: int, *command: str, **options: object) -> subprocess.Popen[bytes]:
        before = resource.getrlimit(RLIMIT_LOCKS)
        resource.setrlimit(RLIMIT_LOCKS, (mark, before[1]))
        try:
            started.append(subprocess.Popen(command or ("/bin/sleep", "60"), **options))  # type: ignore[call-overload]
        finally:
            resource.setrlimit(RLIMIT_LOCKS, before)
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def test_a_process_without_a_mark_and_one_that_is_not_there_have_none() -> None:
    assert mark_of(os.getpid()) == mark_of(2**22 + 1) == 0


def test_a_mark_outlives_exec_a_new_session_and_an_empty_environment(start: Start) -> None:
    script = "/usr/bin/env -i /usr/bin/setsid /bin/sh -c 'echo $$; exec /bin/sleep 60' &"
    process = start(MINE, "/bin/sh", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.wait()  # it has the mark as well, as long as it lives

    assert mark_of(pid) == MINE
    assert kill_marked(MARKS) == [pid]


def test_only_the_marked_are_killed(start: Start) -> None:
    mine, other, unmarked = start(MINE), start(MINE + 1), start(resource.RLIM_INFINITY)

    assert kill_marked(MARKS) == [mine.pid]

    assert mine.wait(10) == -signal.SIGKILL
    assert other.poll() is unmarked.poll() is None


def test_a_zombie_has_a_mark_and_is_left_to_whoever_reaps_it(start: Start) -> None:
    process = start(MINE)
    os.kill(process.pid, signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)

    assert mark_of(process.pid) == MINE
    assert kill_marked(MARKS) == []


def test_a_pid_that_passes_to_a_stranger_between_two_looks_is_not_killed(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = start(resource.RLIM_INFINITY)
    really = mark_of
    looks = iter([MINE])  # what the first look at that pid found
    monkeypatch.setattr(sweep, "mark_of", lambda pid: next(looks, really(pid)) if pid == stranger.pid else really(pid))

    assert kill_marked(MARKS) == []
    assert stranger.poll() is None


def test_a_sweep_waits_for_the_deaths(start: Start) -> None:
    processes = [start(MINE) for _ in range(5)]

    assert sweep.sweep(MARKS, 10.0)

    for process in processes:
        assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG) is not None


def test_a_sweep_reaches_those_who_fork_meanwhile(start: Start) -> None:
    forking = "import os\nwhile True:\n pid = os.fork()\n if pid:\n  os.waitpid(pid, os.WNOHANG)\n  os.read(0, 1)"
    processes = [start(MINE, sys.executable, "-S", "-c", forking, stdin=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"x" * 5)
        process.stdin.flush()

    assert sweep.sweep(MARKS, 10.0)
    assert kill_marked(MARKS) == []


def test_a_sweep_catches_who_forks_to_get_away(start: Start) -> None:
    """No process of it lives for a millisecond, so that none is where it was listed."""
    start(MINE, sys.executable, "-S", "-c", "import os\nos.setsid()\nwhile True:\n if os.fork(): os._exit(0)").wait()

    assert sweep.sweep(MARKS, 10.0)

    assert not any(mark_of(pid) == MINE and is_alive(pid) for _ in range(50) for pid in sweep._pids())


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_guard_waits_for_the_end_and_for_nothing_else(start: Start, number: signal.Signals) -> None:
    doomed = start(MINE)
    command = [sys.executable, "-I", "-S", sweep.__file__, str(os.getpid()), str(MARKS.start), str(MARKS.stop)]
    ignored = signal.signal(number, signal.SIG_IGN)  # so that it cannot come too early
    guard = subprocess.Popen(command, stdin=subprocess.PIPE)
    signal.signal(number, ignored)
    guard.send_signal(number)
    assert doomed.poll() is None

    guard.communicate(timeout=10)

    assert guard.returncode == 0
    assert doomed.wait(10) == -signal.SIGKILL


def test_a_guard_whose_launcher_is_dead_already_does_not_wait(start: Start) -> None:
    doomed = start(MINE)
    command = [sys.executable, "-I", "-S", sweep.__file__, "1", str(MARKS.start), str(MARKS.stop)]
    guard = subprocess.Popen(command, stdin=subprocess.PIPE)

    assert guard.wait(10) == 0
    assert doomed.wait(10) == -signal.SIGKILL
    assert guard.stdin is not None
    guard.stdin.close()
