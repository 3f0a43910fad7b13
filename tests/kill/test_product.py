"""The main job, end to end, on real processes: marks, actions, deaths and the end."""

from __future__ import annotations

import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from ipc import Message
from tests.kill.conftest import DEADLINE_S, gone_within, in_a_quiet_moment, is_gone_in_time
from tests.kill.product import RUN, Product
from tests.unit.ipc.channel import eventually

PERSONAL = "Ada Lovelace 4711"


@pytest.fixture
def product(directory: Path) -> Iterator[Product]:
    running = Product(directory)
    try:
        yield running.wait_until_ready()
    finally:
        running.clean_up()


def test_a_posted_mark_is_stored_broadcast_and_shown(product: Product) -> None:
    assert product.post_mark("12345") == 201
    assert product.stored_people() == ["12345"]
    product.wait_for("message_sent", proc="server", type="attendance", seq=1)
    product.wait_for("message_received", proc="ui", type="attendance", seq=1)
    assert product.wait_for("marks_shown")["rows"] == 1


def test_the_id_of_a_request_is_found_in_every_log_that_its_mark_passes(product: Product) -> None:
    headers = {"Content-Type": "application/json", "X-Request-Id": "reader-7:42"}
    assert product.post(b'{"personId": "12345"}', headers)[0] == 201
    for proc, event in (
        ("server", "request_handled"),
        ("server", "message_sent"),
        ("ui", "message_received"),
        ("ui", "mark_received"),
    ):
        product.wait_for(event, proc=proc, request_id="reader-7:42")


def test_an_action_of_a_client_reaches_the_servers_handler(product: Product) -> None:
    client = product.client("tester")
    client.start()
    try:
        assert client.send_message({"type": "action", "action": "note", "text": PERSONAL})
        product.wait_for("message_received", proc="server", type="action")
        action = product.wait_for("action_received", proc="server", type="action", action="note")
    finally:
        client.stop()
    assert PERSONAL not in str(action)


@pytest.mark.parametrize(("victim", "bystander"), [("server", "ui"), ("ui", "server")])
def test_a_killed_child_is_back_and_later_marks_arrive(product: Product, victim: str, bystander: str) -> None:
    assert product.post_mark("before") == 201
    product.wait_for("marks_shown")

    os.kill(product.pids[victim], signal.SIGKILL)

    exited = product.wait_for("child_exited", child=victim)
    assert (exited["child_pid"], exited["signal"]) == (product.pids[victim], "SIGKILL")
    assert product.post_mark("after") == 201
    assert product.wait_for("child_ready", child=victim)["child_pid"] != product.pids[victim]
    if victim == "server":
        product.wait_for("message_received", proc="ui", type="attendance", seq=2)
    elif product.wait_for("snapshot_loaded")["rows"] < 2:  # it was back before the mark was
        product.wait_for("marks_shown", rows=2)
    assert psutil.pid_exists(product.pids[bystander])


class Follower:
    """A client of the product that keeps whom it is told of. Use as a context manager."""

    def __init__(self, product: Product, name: str) -> None:
        self.people: list[str] = []
        self.seqs: list[int] = []
        self.has_the_last = threading.Event()
        self._client = product.client(name)
        self._client.add_delivery_handler(self._keep)

    def __enter__(self) -> Follower:
        self._client.start()
        self._client.request({"type": "snapshot"}, timeout_s=DEADLINE_S)
        return self

    def __exit__(self, *_exception: object) -> None:
        self._client.stop()

    def _keep(self, message: Message) -> None:
        self.seqs.append(message.seq)
        self.people.append(message.payload["personId"])
        if self.people[-1] == "last":
            self.has_the_last.set()


class Posters:
    """Threads that post new marks, never one twice. Use as a context manager: they have ended after the block."""

    def __init__(self, product: Product, size: int) -> None:
        self._product = product
        self.answered: list[list[str]] = [[] for _ in range(size)]
        self.refused: list[str] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._post, args=(number,)) for number in range(size)]

    def __enter__(self) -> Posters:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _post(self, number: int) -> None:
        n = 0
        while not self._is_over.is_set():
            n += 1
            person = f"{number}-{n}"
            try:
                if self._product.post_mark(person) == 201:
                    self.answered[number].append(person)
            except ConnectionRefusedError:
                self.refused.append(person)
            except (OSError, http.client.HTTPException):
                pass  # the request in flight may be reset, or its answer cut short


def test_no_mark_is_lost_and_no_connection_refused_over_kills_of_the_server(product: Product) -> None:
    """What was answered 201 reaches every client once and in order; what was not may be missing or there once."""
    dice = random.Random()  # noqa: S311  a dice
    moment = threading.Event()  # nobody sets it
    with Follower(product, "one") as one, Follower(product, "two") as two, Follower(product, "three") as three:
        with Posters(product, 6) as posters:
            for _ in range(3):
                moment.wait(dice.uniform(0.0, 0.3))
                os.kill(product.pids["server"], signal.SIGKILL)
                product.wait_for("child_exited", child="server")
                product.pids["server"] = product.wait_for("child_ready", child="server")["child_pid"]
            eventually(lambda: all(posters.answered), DEADLINE_S)
        assert product.post_mark("last") == 201
        for follower in (one, two, three):
            assert follower.has_the_last.wait(DEADLINE_S)
    stored = product.stored_people()
    assert posters.refused == []
    assert len(stored) == len(set(stored))
    for follower in (one, two, three):
        assert follower.people == stored
        assert follower.seqs == list(range(1, len(stored) + 1))
    for number, answered in enumerate(posters.answered):
        known = set(answered)
        assert answered
        assert [person for person in stored if person in known] == answered
        assert all(person.startswith(f"{number}-") for person in answered)


def test_a_killed_launcher_leaves_nothing_and_can_be_launched_again(directory: Path) -> None:
    def leaves_nothing() -> bool:
        product = Product(directory)
        try:
            product.wait_until_ready()
            assert product.post_mark("12345") in (200, 201)
            tree = product.tree()
            assert len(tree) >= 2
            os.kill(product.pid, signal.SIGKILL)
            return is_gone_in_time(tree)
        finally:
            product.clean_up()

    assert in_a_quiet_moment(leaves_nothing)
    again = Product(directory)
    try:
        for child in ("server", "ui"):
            again.wait_for("child_ready", child=child)
        again.wait_for("snapshot_loaded", rows=1)
        os.kill(again.pid, signal.SIGTERM)
        assert again.wait_for_exit() == 0
        assert again.files() == set()
    finally:
        again.clean_up()


@pytest.mark.parametrize(
    ("number", "is_for_all"), [(signal.SIGINT, True), (signal.SIGTERM, False), (signal.SIGTERM, True)]
)
def test_everything_stops_and_nothing_is_left(directory: Path, number: signal.Signals, is_for_all: bool) -> None:
    """Also when the signal goes to every process, as from a terminal or a service manager."""

    def stops_in_time() -> bool:
        product = Product(directory)
        try:
            tree = product.wait_until_ready().tree()
            began_s = time.monotonic()
            (product.signal_group if is_for_all else lambda number: os.kill(product.pid, number))(number)
            assert product.wait_for_exit() == 0
            took_s = time.monotonic() - began_s
            assert gone_within(tree, 0.0) == []
            assert product.files() == set()
            assert product.stderr_after_exit() == ""
            assert product.remaining("child_output") == product.remaining("restart_scheduled") == []
            return took_s < 5.0
        finally:
            product.clean_up()

    assert in_a_quiet_moment(stops_in_time)


def test_the_log_keeps_payloads_to_itself_unless_asked(directory: Path, product: Product) -> None:
    product.post_mark(PERSONAL)
    product.wait_for("marks_shown")
    os.kill(product.pid, signal.SIGTERM)
    product.wait_for_exit()
    assert PERSONAL not in (product.state / "logs" / "axon.jsonl").read_text()

    talkative = Product(directory, "--log-payloads")
    try:
        talkative.wait_until_ready()
        talkative.post_mark(f"{PERSONAL} too")
        for proc, name in (("server", "message_sent"), ("ui", "message_received")):
            event = talkative.wait_for(name, proc=proc, type="attendance")
            assert event["payload"]["personId"] == f"{PERSONAL} too"
    finally:
        talkative.clean_up()


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b'{"personId": ', 400, None),
        (b"[]", 400, None),
        (b"{}", 422, "personId"),
        (b'{"personId": ""}', 422, "personId"),
        (b'{"personId": "  "}', 422, "personId"),
        (b'{"personId": 12345}', 422, "personId"),
        (b'{"personId": "1", "timestamp": "yesterday"}', 422, "timestamp"),
        (b'{"personId": "' + b"x" * (64 << 10) + b'"}', 413, None),
    ],
)
def test_bad_input_is_answered_by_name_and_not_stored(
    product: Product, body: bytes, status: int, field: str | None
) -> None:
    answer = product.post(body)
    assert answer[:2] == (status, "application/problem+json")
    assert answer[2]["status"] == status
    if field is not None:
        assert [error["field"] for error in answer[2]["errors"]] == [field]
    assert product.stored_people() == []


def test_a_second_launch_is_refused_and_the_first_undisturbed(product: Product) -> None:
    second = run_and_wait("--socket", str(product.socket), "--state-dir", str(product.state), "--port", "0")
    assert second.returncode == 75
    assert second.stderr.count("\n") == 1
    assert str(product.pid) in second.stderr
    assert product.post_mark("12345") == 201
    product.wait_for("marks_shown")


def test_what_cannot_be_bound_is_one_line_and_exit_code_2(directory: Path) -> None:
    (directory / "file").touch()
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = str(busy.getsockname()[1])
        state = str(directory / "state")
        for options in (
            ["--socket", f"/tmp/{'x' * 120}.sock", "--state-dir", state],
            ["--socket", str(directory / "file" / "a.sock"), "--state-dir", state],
            ["--socket", str(directory / "a.sock"), "--state-dir", str(directory / "file" / "state")],
            ["--socket", str(directory / "a.sock"), "--state-dir", state, "--port", port],
        ):
            refused = run_and_wait(*options)
            assert (refused.returncode, refused.stderr.count("\n")) == (2, 1), refused.stderr
            assert "Traceback" not in refused.stderr + refused.stdout


def run_and_wait(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(RUN), "--ui", "offscreen", *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def test_the_http_socket_is_the_launchers(product: Product) -> None:
    """While the server is stopped a connection is still taken: it waits in the launcher's backlog."""
    address = urlsplit(product.url)
    os.kill(product.pids["server"], signal.SIGSTOP)
    with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S):
        pass
    os.kill(product.pids["server"], signal.SIGCONT)
    assert product.post_mark("12345") == 201


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_first_moment_is_an_orderly_stop(directory: Path, number: signal.Signals) -> None:
    """While the program is still being loaded: once its main module runs, no signal kills it."""
    product = Product(directory)
    try:
        wait_until_signals_are_held(product.pid)
        product.signal_group(number)
        assert product.wait_for_exit() == 0
        assert product.stderr_after_exit() == ""
        assert product.files() == set()
    finally:
        product.clean_up()


def wait_until_signals_are_held(pid: int) -> None:
    """Wait until the process has blocked SIGTERM or handles it: nothing tells of that, so it is looked at."""
    pause = threading.Event()
    bit = 1 << (signal.SIGTERM - 1)
    for _ in range(12_000):
        status = Path(f"/proc/{pid}/status").read_text()
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith(("SigBlk", "SigCgt")))
        if any(int(mask, 16) & bit for mask in masks.values()):
            return
        pause.wait(0.005)
    pytest.fail("the signals were never held back")


def test_closed_standard_streams_are_no_reason_to_fail(directory: Path) -> None:
    options = ["--socket", str(directory / "a.sock"), "--state-dir", str(directory / "state"), "--port", "0"]
    command = " ".join([sys.executable, str(RUN), "--ui", "none", *options, "<&- >&- 2>&-"])
    launcher = subprocess.Popen(["/bin/sh", "-c", f"exec {command}"], start_new_session=True)
    log = directory / "state" / "logs" / "axon.jsonl"
    pause = threading.Event()
    try:
        for _ in range(6000):
            if launcher.poll() is not None or (log.exists() and "launcher_ready" in log.read_text()):
                break
            pause.wait(0.01)
        assert launcher.poll() is None
        launcher.terminate()
        assert launcher.wait(DEADLINE_S) == 0
    finally:
        launcher.kill()
        launcher.wait()
