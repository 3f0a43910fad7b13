"""Rejections: all are counted, few are told."""

import time

import pytest

from ipc.rejections import Rejections
from tests.unit.ipc.channel import run_together


class Log:
    """Keeps what is logged as a warning."""

    def __init__(self):
        self.lines = []

    def warning(self, event, **fields):
        self.lines.append({"event": event, **fields})


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves: a list with the time in it."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_a_kind_is_told_once_a_second_with_how_many_there_were(now):
    log = Log()
    rejections = Rejections(log)
    for _ in range(100):
        rejections.note("unauthorized", "wrong authkey")
    assert log.lines == [{"event": "peer_rejected", "kind": "unauthorized", "reason": "wrong authkey", "count": 1}]
    now[0] += 1.0
    rejections.note("unauthorized", "wrong authkey")
    assert log.lines[1]["count"] == 100
    assert len(log.lines) == 2
    assert rejections.by_kind() == {"unauthorized": 101}


def test_each_kind_is_told_for_itself(now):
    log = Log()
    rejections = Rejections(log)
    for kind in ("a", "b", "a", "b", "c"):
        rejections.note(kind, "reason")
    assert [line["kind"] for line in log.lines] == ["a", "b", "c"]
    assert rejections.by_kind() == {"a": 2, "b": 2, "c": 1}
    assert now == [1000.0]


def test_the_counts_are_a_copy():
    rejections = Rejections(Log())
    rejections.by_kind()["a"] = 5
    assert rejections.by_kind() == {}


@pytest.mark.usefixtures("now")
def test_threads_count_exactly():
    log = Log()
    rejections = Rejections(log)
    run_together(*[lambda: [rejections.note("kind", "reason") for _ in range(1000)]] * 8)
    assert rejections.by_kind() == {"kind": 8000}
    assert [line["count"] for line in log.lines] == [1]  # all within one second
