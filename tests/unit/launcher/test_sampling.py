"""The sampler, on a real process."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from launcher import sampling
from launcher.policy_types import State
from launcher.sampling import Sample, Sampler
from launcher.status import ChildStatus, Snapshot

DEADLINE_S = 10.0


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"], stdin=-1, stdout=-1
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate(timeout=DEADLINE_S)


def snapshot(pid: int | None) -> Snapshot:
    server = ChildStatus(
        name="server", state=State.RUNNING, pid=pid, restarts=0, started_s=1.0 if pid else None, last_exit=None
    )
    return Snapshot(run_id="r", pid=1, started_s=0.0, socket="s", control_socket="c", url="u", children=(server,))


def test_each_round_is_reported_and_kept(child: subprocess.Popen[bytes]) -> None:
    rounds: queue.Queue[list[Sample]] = queue.Queue()
    sampler = Sampler(interval_s=0.01)
    sampler.watch(snapshot(child.pid))
    sampler.start(rounds.put)
    try:
        first, second = rounds.get(timeout=DEADLINE_S), rounds.get(timeout=DEADLINE_S)
    finally:
        sampler.stop()

    assert [sample.child for sample in first + second] == ["server", "server"]
    assert first[0].child_pid == child.pid
    assert first[0].rss_bytes > 1 << 20
    assert first[0].uss_bytes is not None
    assert second[0].uss_bytes == first[0].uss_bytes, "it is costly, and read only now and then"
    kept = sampler.recent("server")
    assert 2 <= len(kept) <= 12
    assert kept[-1].keys() >= {"timestamp", "child_pid", "cpu_percent", "rss_bytes", "uss_bytes", "threads", "fds"}
    assert sampler.recent("ui") == []
    assert sampler._thread is not None
    sampler._thread.join(DEADLINE_S)
    assert not sampler._thread.is_alive()


def test_figures_are_those_of_this_process(child: subprocess.Popen[bytes]) -> None:
    sampler = Sampler()
    assert sampler.latest("server", child.pid)["rss_bytes"] is None
    sampler.watch(snapshot(child.pid))
    sampler.refresh()

    assert sampler.latest("server", child.pid)["rss_bytes"] > 1 << 20
    assert set(sampler.latest("server", child.pid + 1).values()) == {None}
    assert set(sampler.latest("server", None).values()) == {None}


def test_asking_often_reads_seldom(child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    readings = []
    real = sampling.read_trees
    monkeypatch.setattr(sampling, "read_trees", lambda *given: readings.append(1) or real(*given))
    monkeypatch.setattr(sampling, "_FRESH_S", 1000.0)
    sampler = Sampler()
    sampler.watch(snapshot(child.pid))
    for _ in range(10):
        sampler.refresh()

    assert len(readings) == 1


def test_whoever_asks_does_not_wait_for_a_reading_that_hangs(
    child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    is_reading, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def hang(*_given: object) -> dict[str, object]:
        is_reading.set()
        may_end.wait(DEADLINE_S)
        has_ended.set()
        return {}

    monkeypatch.setattr(sampling, "read_trees", hang)
    sampler = Sampler(interval_s=0.01)
    sampler.watch(snapshot(child.pid))
    sampler.start(lambda _samples: None)
    assert is_reading.wait(DEADLINE_S)

    sampler.refresh()

    assert not has_ended.is_set()
    may_end.set()
    sampler.stop()


def test_a_report_that_fails_does_not_end_the_sampling(child: subprocess.Popen[bytes]) -> None:
    rounds: queue.Queue[list[Sample]] = queue.Queue()

    def report(samples: list[Sample]) -> None:
        rounds.put(samples)
        raise RuntimeError("as ordered")

    sampler = Sampler(interval_s=0.01)
    sampler.watch(snapshot(child.pid))
    with capture_logs() as logs:
        sampler.start(report)
        for _ in range(3):
            rounds.get(timeout=DEADLINE_S)
        sampler.stop()

    assert logs[0]["event"] == "sampling_failed"
