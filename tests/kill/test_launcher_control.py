"""The control plane and the subcommands, against a real launcher."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

from ipc import SocketClient
from ipc.authkey import key_path, load_key
from tests.kill.conftest import DEADLINE_S, Launch, Launched

RUN = Path(__file__).resolve().parents[2] / "run.py"
BOTH = {"server": "steady", "ui": "steady"}


def run(launched: Launched, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments, "--socket", str(launched.socket)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def status(launched: Launched) -> dict[str, Any]:
    found = run(launched, "status", "--json")
    assert found.returncode == 0, found.stderr
    decoded: dict[str, Any] = json.loads(found.stdout)
    return decoded


def test_status_shows_what_the_log_said(launch: Launch) -> None:
    launched = launch(BOTH)
    ready = launched.wait_for("launcher_ready")
    pids = [event["child_pid"] for event in launched.remaining("child_started")]

    found = status(launched)

    assert (found["pid"], found["url"], found["socket"]) == (launched.pid, ready["url"], str(launched.socket))
    assert found["run_id"] == ready["run_id"]
    children = [(child["name"], child["state"], child["pid"], child["restarts"]) for child in found["children"]]
    assert children == [("server", "RUNNING", pids[0], 0), ("ui", "RUNNING", pids[1], 0)]
    table = run(launched, "status")
    assert [line.split()[:2] for line in table.stdout.splitlines()[5:]] == [["server", "RUNNING"], ["ui", "RUNNING"]]


def test_restart_replaces_one_child_without_counting_a_crash(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    before = launched.wait_for("child_ready", child="server")["child_pid"]

    assert run(launched, "restart", "server").stdout == "restarting server\n"

    launched.wait_for("child_exited", child="server", exit_code=0)
    after = launched.wait_for("child_ready", child="server")["child_pid"]
    assert before != after
    server, ui = status(launched)["children"]
    assert (server["pid"], server["restarts"], server["attempt"], ui["restarts"]) == (after, 1, 0, 0)
    assert launched.remaining("restart_scheduled") == []


def test_restart_of_what_is_not_there_is_refused_in_one_line(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")

    refused = run(launched, "restart", "database")

    assert refused.returncode == 2
    assert refused.stderr == "axon: restart: there is no child 'database'; choose one of server, ui, all\n"


def test_restart_revives_a_child_that_was_given_up_and_its_sockets(launch: Launch) -> None:
    launched = launch({"server": "unconfigured", "ui": "steady"})
    launched.wait_for("child_fatal")
    launched.wait_for("child_ready", child="ui")
    assert not launched.socket.exists()
    assert status(launched)["children"][0]["reason"] == "the widget library is missing"

    run(launched, "restart", "all")

    launched.wait_for("restart_requested", children=["server", "ui"])
    launched.wait_for("child_fatal", child="server")
    launched.wait_for("child_ready", child="ui")


def test_stop_waits_for_the_end(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")

    stopped = run(launched, "stop")

    assert (stopped.returncode, stopped.stdout) == (0, f"stopped, pid was {launched.pid}\n")
    assert launched.process.poll() == 0
    assert launched.files() == set()


class Follower:
    """A client of the control plane that keeps what is broadcast."""

    def __init__(self, launched: Launched) -> None:
        self._heard: queue.Queue[dict[str, Any]] = queue.Queue()
        address = launched.socket.with_name("a-control.sock")
        self.client = SocketClient(str(address), authkey=load_key(key_path(str(launched.socket))), name="test")
        self.client.add_message_handler(self._heard.put)

    def __enter__(self) -> Self:
        self.client.start()
        self.client.request({"type": "status"}, DEADLINE_S)
        return self

    def __exit__(self, *_error: object) -> None:
        self.client.stop()

    def next_state(self, child: int) -> str:
        message = self._heard.get(timeout=DEADLINE_S)
        assert message["type"] == "children"
        state: str = message["children"][child]["state"]
        return state


def test_status_answers_while_a_stop_is_under_way(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "stubborn"})
    launched.wait_for("launcher_ready")
    with Follower(launched) as follower:
        launched.process.send_signal(signal.SIGTERM)
        while follower.next_state(1) != "STOPPING":
            pass
        began_s = time.monotonic()

        found = follower.client.request({"type": "status"}, DEADLINE_S)

    assert time.monotonic() - began_s < 0.5
    assert found["is_stopping"]
    assert found["children"][0]["state"] == "RUNNING", "the server waits until the ui is gone"
    assert launched.wait_for_exit() == 0


def test_every_change_of_state_is_broadcast(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    with Follower(launched) as follower:
        follower.client.request({"type": "restart", "child": "ui"}, DEADLINE_S)
        while follower.next_state(1) != "STOPPING":
            pass

        assert follower.next_state(1) == "STARTING"
        assert follower.next_state(1) == "RUNNING"
