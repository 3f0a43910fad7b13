"""The rule behind --max-rss."""

from __future__ import annotations

import itertools

from launcher.memory_limit import FIRST_PAUSE_S, LONGEST_PAUSE_S, MemoryLimit

LIMIT = 100
STEP_S = 5.0


def test_a_child_within_the_limit_is_left_alone_and_so_is_one_peak() -> None:
    limit = MemoryLimit(LIMIT)

    assert [limit.judge("ui", 1, rss, index) for index, rss in enumerate((100, 101, 99, 500, 100))] == [None] * 5


def test_a_leak_is_restarted_at_its_second_sample_over_the_limit() -> None:
    limit = MemoryLimit(LIMIT)
    limit.judge("ui", 1, 90, 0.0)
    assert limit.judge("ui", 1, 110, 900.0) is None

    verdict = limit.judge("ui", 1, 120, 905.0)

    assert verdict is not None
    assert (verdict.restart, "grown" in verdict.reason) == (True, True)


def test_a_limit_below_the_normal_size_is_said_and_restarts_ever_more_seldom() -> None:
    limit, now, restarts_s, complaints, pid = MemoryLimit(LIMIT), 0.0, [], 0, 1
    while now < 4 * LONGEST_PAUSE_S:
        verdict = limit.judge("ui", pid, 200, now)
        if verdict is not None:
            assert "raise the limit" in verdict.reason
            complaints += not verdict.restart
            if verdict.restart:
                restarts_s.append(now)
                pid += 1
        now += STEP_S

    pauses_s = [after - before for before, after in itertools.pairwise(restarts_s)]
    assert pauses_s[:4] == [FIRST_PAUSE_S, 2 * FIRST_PAUSE_S, 4 * FIRST_PAUSE_S, 8 * FIRST_PAUSE_S]
    assert pauses_s == sorted(pauses_s)
    assert max(pauses_s) == LONGEST_PAUSE_S
    assert complaints <= len(restarts_s)


def test_one_that_waits_is_said_once() -> None:
    limit = MemoryLimit(LIMIT)
    assert [limit.judge("ui", 1, 200, now) for now in (0.0, 5.0)][1] is not None

    told = [limit.judge("ui", 2, 200, now) for now in (10.0, 15.0, 20.0, 25.0)]

    (verdict,) = [each for each in told if each is not None]
    assert (verdict.restart, verdict.wait_s) == (False, FIRST_PAUSE_S - 10.0)


def test_a_slow_leak_is_restarted_as_soon_each_time() -> None:
    limit = MemoryLimit(LIMIT)
    for pid, began_s in enumerate((0.0, 2000.0, 4000.0)):
        limit.judge("ui", pid, 50, began_s)
        limit.judge("ui", pid, 200, began_s + 1000)
        verdict = limit.judge("ui", pid, 200, began_s + 1005)
        assert verdict is not None
        assert (verdict.restart, verdict.wait_s) == (True, FIRST_PAUSE_S)


def test_children_are_judged_apart() -> None:
    limit = MemoryLimit(LIMIT)
    for child in ("server", "ui"):
        limit.judge(child, 1, 200, 0.0)

    verdicts = [limit.judge(child, 1, 200, 5.0) for child in ("server", "ui")]

    assert [verdict is not None and verdict.restart for verdict in verdicts] == [True, True]
