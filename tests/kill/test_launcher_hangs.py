"""Children that hang, really, and those that only seem to."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psutil
import pytest

from tests.kill.conftest import DEADLINE_S, Launch, Launched

QUICK = ("--hang-after", "3")
REASON = "no heartbeat for 3 s"
THREADS = 8
TIME_TO_DUMP = {"dump_s": 30.0}  # however busy this machine is, a dump is written


def ready(launched: Launched) -> int:
    """Wait until the one child is ready; return its pid."""
    pid = int(launched.wait_for("child_ready")["child_pid"])
    launched.wait_for("launcher_ready")
    return pid


def replaced(launched: Launched, pid: int, reason: str, signal_name: str = "SIGABRT") -> None:
    """Check that the child of this pid is taken for hung, dumped and replaced."""
    hung = launched.wait_for("child_hung")
    assert (hung["child_pid"], hung["reason"]) == (pid, reason)
    launched.wait_for("child_exited", child_pid=pid, signal=signal_name)
    launched.wait_for("restart_scheduled", reason=reason)
    assert launched.wait_for("child_ready")["child_pid"] != pid


def dump(launched: Launched, pid: int) -> str:
    """Return what the child of this pid printed."""
    return "\n".join(event["text"] for event in launched.remaining("child_output") if event["child_pid"] == pid)


def test_a_child_whose_thread_blocks_is_dumped_and_replaced(launch: Launch) -> None:
    launched = launch({"server": "beating"}, *QUICK, limits=TIME_TO_DUMP)
    pid = ready(launched)

    os.kill(pid, signal.SIGUSR1)

    replaced(launched, pid, REASON)
    assert "in block_for_good" in dump(launched, pid)
    assert "in _run" in dump(launched, pid), "the lifeline's thread too"


def test_a_child_that_was_stopped_is_dumped_and_replaced(launch: Launch) -> None:
    launched = launch({"server": "beating"}, *QUICK, limits=TIME_TO_DUMP)
    pid = ready(launched)

    os.kill(pid, signal.SIGSTOP)

    replaced(launched, pid, f"{REASON}: the process is stopped")
    assert "in beating" in dump(launched, pid)


def test_a_child_that_was_stopped_while_it_started_is_not_waited_for_until_its_start_has_taken_too_long(
    launch: Launch,
) -> None:
    launched = launch({"server": "never_ready"}, *QUICK, limits={"start_timeout_s": 300.0})
    pid = int(launched.wait_for("child_started")["child_pid"])

    os.kill(pid, signal.SIGSTOP)

    assert launched.wait_for("child_hung")["reason"] == f"{REASON}: the process is stopped"
    launched.wait_for("child_exited", child_pid=pid)
    assert launched.wait_for("child_started")["child_pid"] != pid


def test_a_child_that_ignores_the_abort_is_killed(launch: Launch) -> None:
    launched = launch({"server": "beating"}, *QUICK)
    pid = ready(launched)

    os.kill(pid, signal.SIGUSR2)

    replaced(launched, pid, REASON, "SIGKILL")


@pytest.mark.parametrize("signal_name", ["SIGSTOP", "SIGUSR1"])
def test_a_child_that_hangs_when_it_is_to_be_restarted_is_dumped_and_reported(launch: Launch, signal_name: str) -> None:
    launched = launch({"server": "beating"}, *QUICK, limits={**TIME_TO_DUMP, "stop_timeout_s": 60.0})
    pid = ready(launched)
    os.kill(pid, signal.Signals[signal_name])

    launched.process.send_signal(signal.SIGHUP)

    assert launched.wait_for("child_hung")["child_pid"] == pid
    launched.wait_for("child_exited", child_pid=pid, signal="SIGABRT")
    assert launched.wait_for("child_ready")["child_pid"] != pid
    assert "in beating" in dump(launched, pid)
    launched.wait_for("crash_report_written", child_pid=pid)


def test_a_server_that_finishes_what_it_has_is_not_taken_for_hung(launch: Launch) -> None:
    launched = launch({"server": "blockable_server"}, *QUICK, limits={"stop_timeout_s": 60.0})
    pid = pid_of(launched, "server")
    url = launched.wait_for("launcher_ready")["url"]

    with nothing_hangs(launched), blocking(url, 1, 60.0):
        launched.process.send_signal(signal.SIGHUP)
        launched.wait_for("child_exited", child_pid=pid, exit_code=0)
        launched.wait_for("child_ready")


def test_a_child_that_never_beats_is_not_taken_for_hung(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "beating"}, *QUICK)
    ui = pid_of(launched, "ui")

    with nothing_hangs(launched):
        os.kill(ui, signal.SIGSTOP)
        launched.wait_for("child_hung", child="ui")


def pid_of(launched: Launched, child: str) -> int:
    return int(launched.wait_for("child_ready", child=child)["child_pid"])


def test_with_a_limit_of_0_nobody_is(launch: Launch) -> None:
    launched = launch({"server": "beating", "ui": "beating"}, "--hang-after", "0")
    os.kill(pid_of(launched, "server"), signal.SIGSTOP)

    with nothing_hangs(launched):
        pass_time(6.0)


@contextmanager
def nothing_hangs(launched: Launched) -> Iterator[None]:
    """Check that during the block, and a moment longer, no child is taken for hung."""
    yield
    os.kill(launched.pid, signal.SIGTERM)
    launched.wait_for_exit()
    assert launched.remaining("child_hung") == []


def pass_time(seconds: float) -> None:
    """Let time pass: what is tested is that nothing happens in it."""
    threading.Event().wait(seconds)


@pytest.mark.parametrize("who", ["the launcher", "everybody"])
def test_the_launchers_own_suspension_is_nobodys_silence(launch: Launch, who: str) -> None:
    launched = launch({"server": "beating", "ui": "beating"}, *QUICK)
    launched.wait_for("launcher_ready")
    everybody = [psutil.Process(launched.pid), *(launched.tree() if who == "everybody" else [])]

    with nothing_hangs(launched):
        for process in everybody:
            process.suspend()
        pass_time(4.0)
        for process in everybody:
            process.resume()
        pass_time(3.5)


def test_a_real_server_whose_threads_all_block_is_replaced(launch: Launch) -> None:
    launched = launch({"server": "blockable_server"}, limits=TIME_TO_DUMP)
    pid = launched.wait_for("child_ready")["child_pid"]
    url = launched.wait_for("launcher_ready")["url"]

    with blocking(url, THREADS, 3600.0):
        replaced(launched, pid, "no heartbeat for 5 s")
    assert dump(launched, pid).count("in blockable\n") == THREADS


def test_a_real_server_whose_threads_all_block_for_less_than_the_limit_is_not(launch: Launch) -> None:
    """Twice, one after the other, for longer than that."""
    launched = launch({"server": "blockable_server"}, "--hang-after", "9")
    url = launched.wait_for("launcher_ready")["url"]

    with nothing_hangs(launched), blocking(url, 2 * THREADS, 5.0) as wait_for_answers:
        wait_for_answers()


def test_a_wall_clock_that_jumps_is_nobodys_silence(launch: Launch) -> None:
    launched = launch({"server": "jumping_server"}, *QUICK)
    pid = ready(launched)

    with nothing_hangs(launched):
        for number in (signal.SIGUSR1, signal.SIGUSR2):
            os.kill(pid, number)
            pass_time(3.5)
    assert launched.remaining("restart_scheduled") == []


def test_a_real_ui_whose_gui_thread_blocks_is_replaced(launch: Launch) -> None:
    launched = launch({"ui": "blockable_ui"}, "--ui", "offscreen", limits=TIME_TO_DUMP)
    pid = ready(launched)

    os.kill(pid, signal.SIGUSR1)

    replaced(launched, pid, "no heartbeat for 5 s")
    assert "in block_for_good" in dump(launched, pid)


@contextmanager
def blocking(url: str, count: int, seconds: float) -> Iterator[Callable[[], None]]:
    """Have that many requests take that long; yields what waits for their answers."""
    address = urlsplit(url)
    request = f"GET /block?{seconds} HTTP/1.1\r\nHost: {address.netloc}\r\nConnection: close\r\n\r\n".encode()
    connections = [socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S) for _ in range(count)]
    for connection in connections:
        connection.sendall(request)

    def wait_for_answers() -> None:
        assert all(connection.recv(100).startswith(b"HTTP/1.1 ") for connection in connections)

    yield wait_for_answers
    for connection in connections:
        connection.close()
