"""Samples and --max-rss, on real processes."""

from __future__ import annotations

import queue
from typing import Any

import psutil

from ipc import SocketClient
from ipc.authkey import key_path, load_key
from tests.kill.conftest import DEADLINE_S, Launch, Launched

OFTEN = ("--sample-every-s", "0.25")


def status(launched: Launched) -> dict[str, Any]:
    with_samples: dict[str, Any] = {}
    client = control(launched)
    client.start()
    try:
        with_samples = client.request({"type": "status"}, DEADLINE_S)
    finally:
        client.stop()
    return with_samples


def control(launched: Launched) -> SocketClient:
    address = launched.socket.with_name("a-control.sock")
    return SocketClient(str(address), authkey=load_key(key_path(str(launched.socket))), name="test")


def test_a_sample_is_in_the_log_at_debug_and_reaches_clients_of_the_control_plane(launch: Launch) -> None:
    launched = launch({"server": "leaking", "ui": "steady"}, "--log-level", "debug", *OFTEN)
    launched.wait_for("launcher_ready")
    grandchild = launched.wait_for("memory_held")["grandchild_pid"]
    heard: queue.Queue[dict[str, Any]] = queue.Queue()
    client = control(launched)
    client.add_message_handler(heard.put)
    client.start()
    try:
        for _ in range(2):  # the first may tell of a moment before the memory was held
            while (message := heard.get(timeout=DEADLINE_S)).get("child") != "server":
                pass  # of the ui, or of what the launcher has to say besides
    finally:
        client.stop()

    assert (message["type"], message["child"]) == ("process_sampled", "server")
    keys = ("child_pid", "cpu_percent", "rss_bytes", "uss_bytes", "threads", "fds", "processes")
    line = launched.wait_for("process_sampled", child="server", **{key: message[key] for key in keys})
    assert line["processes"] == 2
    assert line["rss_bytes"] >= 100 << 20, f"the grandchild {grandchild} is counted"
    assert psutil.pid_exists(grandchild)


def test_a_daemon_that_a_child_has_started_belongs_to_its_tree(launch: Launch) -> None:
    launched = launch({"server": "daemon_starting", "ui": "steady"}, "--log-level", "debug", *OFTEN)
    launched.wait_for("grandchildren_started", proc="server")
    launched.wait_for("launcher_ready")

    launched.wait_for("process_sampled", child="server", processes=2)
    assert [child["processes"] for child in status(launched)["children"]] == [2, 1]


def test_status_has_figures_from_the_first_moment(launch: Launch) -> None:
    # The first round of the sampler is to come later: who asks just then does not wait for it.
    launched = launch({"server": "steady", "ui": "steady"}, "--sample-every-s", "3600")
    launched.wait_for("launcher_ready")

    for child in status(launched)["children"]:
        assert child["rss_bytes"] > 1 << 20
        assert child["cpu_percent"] >= 0.0
        assert child["threads"] >= 1


def test_a_child_that_leaks_is_restarted_and_asked_nicely(launch: Launch) -> None:
    patient = {"stop_timeout_s": 60.0}
    launched = launch({"server": "leaking", "ui": "steady"}, "--max-rss", "90M", *OFTEN, limits=patient)
    launched.wait_for("launcher_ready")
    first = launched.wait_for("child_ready", child="server")["child_pid"]

    exceeded = launched.wait_for("max_rss_exceeded")

    assert (exceeded["child"], exceeded["child_pid"], exceeded["restart"]) == ("server", first, True)
    assert exceeded["rss_bytes"] > exceeded["max_rss_bytes"] == 90 << 20
    launched.wait_for("restart_requested", children=["server"])
    assert launched.wait_for("child_exited", child="server")["exit_code"] == 0
    assert launched.wait_for("child_ready", child="server")["child_pid"] != first
    # The limit is below what this child needs, so the next one is over it again, and now has to wait.
    again = launched.wait_for("max_rss_exceeded")
    assert (again["restart"], "raise the limit" in again["reason"]) == (False, True)
    assert 0 < again["wait_s"] <= 60
    ui = status(launched)["children"][1]
    assert ui["restarts"] == 0
