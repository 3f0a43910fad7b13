"""The control plane and the subcommands, against a real launcher."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, Self

import psutil
import pytest

from ipc import SocketClient
from ipc.authkey import key_path, load_key
from launcher import cli
from tests.kill.conftest import DEADLINE_S, Launch, Launched, gone_within
from tests.kill.product import Product
from tests.unit.ipc.channel import eventually

RUN = Path(__file__).resolve().parents[2] / "run.py"
BOTH = {"server": "steady", "ui": "steady"}
SLOWLY = ("--stop-within-s", "60")


def run(launched: Launched, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *arguments, "--socket", str(launched.socket)]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


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
        self._states: dict[int, str] = {}
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
        """Return the next state of a child that is another one than before.

        What is broadcast besides is passed over: samples, and children of whom something else has changed.
        """
        while True:
            message = self._heard.get(timeout=DEADLINE_S)
            if message["type"] != "children":
                continue
            state: str = message["children"][child]["state"]
            if state != self._states.get(child):
                self._states[child] = state
                return state


def test_status_answers_while_a_stop_is_under_way(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "stubborn"}, *SLOWLY)
    launched.wait_for("launcher_ready")
    with Follower(launched) as follower:
        launched.process.send_signal(signal.SIGTERM)
        while follower.next_state(1) != "STOPPING":
            pass

        took_s, answers = [], []
        for _ in range(50):
            began_s = time.monotonic()
            answers.append(follower.client.request({"type": "status"}, DEADLINE_S))
            took_s.append(time.monotonic() - began_s)

        launched.process.send_signal(signal.SIGINT)  # that is enough

    assert statistics.quantiles(took_s)[0] < 0.1, "of fifty, a quarter: this machine may be busy"
    assert all(found["is_stopping"] for found in answers)
    states = [[child["state"] for child in found["children"]] for found in answers]
    assert {server for server, ui in states if ui == "STOPPING"} == {"RUNNING"}, "it waits until the ui is gone"
    assert launched.wait_for_exit() == 0


def test_the_table_is_there_while_a_stop_is_under_way(launch: Launch) -> None:
    launched = launch({"server": "steady", "ui": "stubborn"}, *SLOWLY)
    launched.wait_for("launcher_ready")
    launched.process.send_signal(signal.SIGTERM)
    launched.wait_for("shutdown_started")

    found = run(launched, "status")

    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.startswith(f"axon stopping, pid {launched.pid}")
    assert re.search(r"^ui +STOPPING ", found.stdout, re.MULTILINE)


def refused(launched: Launched, *arguments: str, exit_code: int = 1) -> str:
    """Check that a command fails in one line with this code; return the line."""
    found = run(launched, *arguments)
    (line,) = found.stderr.splitlines()
    assert (found.returncode, found.stdout) == (exit_code, ""), line
    assert line.startswith("axon: ")
    return line


ASKING = (["status"], ["restart", "all"], ["stop"], ["send", "{}"])


def test_a_wrong_key_is_refused_at_once_and_does_no_harm(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    key = Path(key_path(str(launched.socket)))
    right = key.read_text()
    key.write_text("0" * 64 + "\n")

    for arguments in ASKING[:3]:
        assert "refused" in refused(launched, *arguments)
    assert launched.wait_for("peer_rejected", kind="unauthorized")["reason"].startswith("wrong authkey (digest ")

    key.write_text(right)
    key.chmod(0o644)
    assert "chmod 600" in refused(launched, "status")
    key.chmod(0o600)
    assert [child["restarts"] for child in status(launched)["children"]] == [0, 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused(launch: Launch, directory: Path) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    directory.chmod(0o755)
    child = os.fork()
    if child == 0:  # this interpreter is what a stranger could not even start
        code = 99
        try:
            os.setuid(65534)
            code = cli.main(["status", "--socket", str(launched.socket)])
        finally:
            os._exit(code)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_launcher_that_stands_still_is_waited_for_a_while_and_named(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    launched.process.send_signal(signal.SIGSTOP)
    try:
        line = refused(launched, "status")
    finally:
        launched.process.send_signal(signal.SIGCONT)

    assert f"pid {launched.pid} does not answer" in line


@pytest.mark.parametrize("arguments", ["status", "stop", "restart ui", "tail"])
def test_a_launcher_that_ends_meanwhile_is_not_waited_for(launch: Launch, arguments: str) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    launched.process.send_signal(signal.SIGSTOP)
    command = [sys.executable, str(RUN), *arguments.split(), "--socket", str(launched.socket)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as asking:
        eventually(lambda: psutil.Process(asking.pid).net_connections("unix"), DEADLINE_S)

        launched.process.kill()

        _, words = asking.communicate(timeout=DEADLINE_S)
        assert (asking.returncode, words) == (3, f"axon: pid {launched.pid} has just ended\n")


def test_a_message_is_sent_once_the_server_has_it(directory: Path) -> None:
    product = Product(directory, "--ui", "none")
    try:
        product.wait_for("child_ready", child="server")
        sent = run(product, "send", '{"type": "note", "text": "from the command line"}')
        assert (sent.returncode, sent.stdout, sent.stderr) == (0, "", "")
        product.wait_for("message_received", proc="server", type="note")
    finally:
        product.clean_up()


def test_a_message_for_a_server_that_does_not_accept_is_given_up_with_its_name(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")

    assert f"not sent: the server does not answer on {launched.socket}" in refused(launched, "send", "{}")


def test_a_message_for_a_server_that_was_given_up_says_so(launch: Launch) -> None:
    launched = launch({"server": "unconfigured", "ui": "steady"})
    launched.wait_for("child_fatal")

    line = refused(launched, "send", '{"type": "x"}')

    assert "not sent: the server is FATAL: the widget library is missing" in line


def complete_tree(launched: Launched) -> list[psutil.Process]:
    """Return every process below the launcher once there will be no others."""
    launched.wait_for("launcher_ready")
    for child in BOTH:
        launched.wait_for("spare_ready", child=child)
    return launched.tree()


def test_what_a_killed_launcher_left_behind_is_no_instance(launch: Launch) -> None:
    launched = launch(BOTH)
    tree = complete_tree(launched)
    launched.process.kill()
    assert gone_within(tree, DEADLINE_S) == []

    for arguments in ASKING:
        assert "no launcher runs on" in refused(launched, *arguments, exit_code=3)


def test_doctor_finds_a_running_instance_well_and_a_child_that_was_given_up_not(launch: Launch) -> None:
    launched = launch({"server": "accepting", "ui": "steady"})
    launched.wait_for("launcher_ready")
    examined = run(launched, "--state-dir", str(launched.directory / "state"), "--port", "0", "doctor", "--json")
    found = json.loads(examined.stdout)
    assert found["instance"]["pid"] == launched.pid
    results = {each["topic"]: each["result"] for each in found["findings"]}
    topics = ("lock", "socket", "control socket", "key file", "state directory", "instance", "server", "ui")
    assert {topic: results[topic] for topic in topics} == dict.fromkeys(topics, "ok")
    assert results["http"] == "warning", "this server answers 204 to everything"
    assert Path(key_path(str(launched.socket))).read_text().strip() not in examined.stdout


def test_doctor_names_a_child_that_was_given_up_with_the_remedy(launch: Launch) -> None:
    launched = launch({"server": "unconfigured", "ui": "steady"})
    launched.wait_for("child_fatal")

    examined = run(launched, "--state-dir", str(launched.directory / "state"), "doctor")

    assert examined.returncode == 1
    assert re.search(r"problem +server +given up: the widget library is missing", examined.stdout)
    assert "run.py restart server" in examined.stdout


def test_doctor_tells_what_a_killed_launcher_left_behind(launch: Launch) -> None:
    launched = launch(BOTH)
    tree = complete_tree(launched)
    launched.process.kill()
    assert gone_within(tree, DEADLINE_S) == []
    files = launched.files()

    examined = run(launched, "--state-dir", str(launched.directory / "state"), "--port", "0", "doctor", "--json")

    found = json.loads(examined.stdout)
    stale = {each["topic"] for each in found["findings"] if "stale" in each["detail"]}
    assert stale == {"lock", "socket", "control socket"}
    assert found["instance"] is None
    assert launched.files() == files


def test_every_change_of_state_is_broadcast(launch: Launch) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    with Follower(launched) as follower:
        follower.client.request({"type": "restart", "child": "ui"}, DEADLINE_S)
        while follower.next_state(1) != "STOPPING":
            pass

        assert follower.next_state(1) == "STARTING"
        assert follower.next_state(1) == "RUNNING"


@pytest.mark.parametrize("arguments", ["status", "status --json", "restart server", "doctor", "--help", "stop"])
def test_a_stdout_that_takes_nothing_is_one_line_and_one_that_was_left_is_none(launch: Launch, arguments: str) -> None:
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    command = [sys.executable, str(RUN), *arguments.split()]
    if not arguments.startswith("-"):
        command += ["--socket", str(launched.socket)]
    reader, writer = os.pipe()
    os.close(reader)

    with open("/dev/full", "w") as full, open(writer, "w") as left:
        is_left = arguments != "stop" and run_into(command, left)
        is_full = run_into(command, full)

    assert is_left in (False, (1, ""))
    code, words = is_full
    assert (code, words.count("\n"), "No space left on device" in words) == (1, 1, True)


@pytest.mark.parametrize(
    ("arguments", "exit_code"), [("status", 0), ("status --json", 0), ("restart ui", 0), ("doctor", 1), ("nonsense", 2)]
)
def test_a_command_whose_stdout_is_closed_does_its_work(launch: Launch, arguments: str, exit_code: int) -> None:
    """The doctor finds a server here that does not answer HTTP."""
    launched = launch(BOTH)
    launched.wait_for("launcher_ready")
    command = f"exec {sys.executable} {RUN} --socket {launched.socket} {arguments} >&-"

    done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, timeout=DEADLINE_S, check=False)

    assert (done.returncode, done.stderr.count(b"\n")) == (exit_code, int(arguments == "nonsense")), done.stderr


def run_into(command: list[str], stdout: IO[str]) -> tuple[int, str]:
    """Return exit code and stderr of a command whose stdout is this."""
    done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=DEADLINE_S, check=False)
    return done.returncode, done.stderr
