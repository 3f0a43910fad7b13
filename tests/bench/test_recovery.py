"""The recovery bench: what it counts, and what it makes of that."""

import http.client
import subprocess
import sys
import threading

import pytest

from tests.bench import recovery
from tests.bench.recovery import Recovery, as_dict, as_table, targets
from tests.bench.supervisors import ROOT, SERVER, Supervised

WARM = Recovery("this launcher, warm spares", [8.0, 9.0, 60.0])
COLD = Recovery("this launcher, --no-spares", [150.0, 160.0, 170.0])
OTHER = Recovery("supervisord", [1100.0, 1200.0], refused=1500, reset=2)


def test_the_table_has_a_row_for_each_supervisor_and_our_promises():
    table = as_table([WARM, COLD, OTHER])
    rows = [line.split() for line in table.splitlines()]
    assert rows[1][:4] == ["supervisor", "p50", "ms", "p95"]
    assert rows[4] == ["supervisord", "1150.0", "1200.0", "1200.0", "1,502", "1,500", "2"]
    assert "warm spares, p50 ms: 9.00 <= 20.00  met" in table
    assert "warm spares, p95 ms: 60.00 <= 50.00  MISSED" in table
    assert "refused connections, this launcher: 0.00 <= 0.00  met" in table


def test_without_an_option_for_spares_there_is_one_promise_less():
    plain = Recovery("this launcher", [100.0])
    assert [target.what for target in targets([plain, OTHER])] == [
        "without spares, p95 ms",
        "refused connections, this launcher",
    ]


def test_the_json_tells_the_same():
    told = as_dict([WARM, OTHER])
    assert [each["p50_ms"] for each in told["recoveries"]] == [9.0, 1150.0]
    assert told["recoveries"][1]["failed"] == 1502
    assert [target["is_met"] for target in told["targets"]] == [True, False, True]


@pytest.fixture
def port():
    with http.client.socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def test_refused_polls_are_counted_until_a_successor_answers(port, monkeypatch):
    """The supervisor here is a timer-less thread: it starts the successor once the first poll was refused."""
    command = [sys.executable, "-m", SERVER, "--port", str(port)]
    servers = [subprocess.Popen(command, cwd=ROOT)]
    supervised = Supervised(port, "/", lambda: servers[0].pid)
    found = Recovery("a thread")
    was_refused = threading.Event()

    def supervise():
        servers[0].wait(30)
        was_refused.wait(30)
        servers.append(subprocess.Popen(command, cwd=ROOT))

    real = recovery._poll

    def poll(*given):
        is_answered = real(*given)
        if found.refused:
            was_refused.set()
        return is_answered

    while not real(supervised, Recovery("its start")):
        assert servers[0].poll() is None
    monkeypatch.setattr(recovery, "_poll", poll)
    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    try:
        recovery._kill_once(supervised, found)
    finally:
        was_refused.set()
        supervisor.join()
        for server in servers:
            server.kill()
            server.wait()

    assert len(found.took_ms) == 1
    assert found.refused >= 1
    assert len(servers) == 2
