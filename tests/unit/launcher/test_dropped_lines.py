"""Every line that is not kept is told of."""

from __future__ import annotations

import threading

from launcher.dropped_lines import DroppedLines
from launcher.log_events import Origin

SERVER, UI = Origin("server", 1), Origin("ui", 2)


def test_lines_are_summed_until_they_are_said() -> None:
    told: list[tuple[Origin, int]] = []
    dropped = DroppedLines(lambda origin, count: told.append((origin, count)), within_s=60)
    for count in (1, 2, 0, -1):
        dropped.add(SERVER, count)
    dropped.add(UI, 5)
    dropped.say()
    dropped.say()

    assert told == [(SERVER, 3), (UI, 5)]


def test_they_are_said_by_themselves_after_a_while_each_time() -> None:
    told: list[int] = []
    is_told = threading.Semaphore(0)

    def tell(_origin: Origin, count: int) -> None:
        told.append(count)
        is_told.release()

    dropped = DroppedLines(tell, within_s=0.01)
    for count in (3, 4):
        dropped.add(SERVER, count)
        assert is_told.acquire(timeout=10)

    assert told == [3, 4]


def test_one_timer_is_enough() -> None:
    before = threading.active_count()
    dropped = DroppedLines(lambda _origin, _count: None, within_s=60)
    for _ in range(100):
        dropped.add(SERVER, 1)
        dropped.say()

    assert threading.active_count() <= before + 1
