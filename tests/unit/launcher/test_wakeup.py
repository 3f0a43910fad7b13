"""The pipe through which signals and commands reach the loop."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator

import pytest

from launcher.wakeup import Wakeup
from tests.unit.launcher.conftest import HANDLED


@pytest.fixture
def wakeup() -> Iterator[Wakeup]:
    it = Wakeup()
    yield it
    it.close()


def is_readable(wakeup: Wakeup) -> bool:
    return bool(select.select([wakeup], [], [], 0)[0])


def test_commands_of_other_threads_arrive_in_order(wakeup: Wakeup) -> None:
    assert not is_readable(wakeup)
    thread = threading.Thread(target=lambda: [wakeup.post(number) for number in range(3)])
    thread.start()
    thread.join()

    assert is_readable(wakeup)
    assert wakeup.take() == ([], [0, 1, 2])
    assert not is_readable(wakeup)
    assert wakeup.take() == ([], [])


def test_signals_arrive_as_themselves_and_do_nothing_else(wakeup: Wakeup) -> None:
    with wakeup.catching_signals():
        for number in (*HANDLED, signal.SIGCHLD):
            os.kill(os.getpid(), number)
        signals, _commands = wakeup.take()

    # As a set: a child of an earlier test that ends just now is a SIGCHLD more.
    assert set(signals) == {*HANDLED, signal.SIGCHLD}


def test_signals_that_come_too_late_do_nothing_at_all(wakeup: Wakeup) -> None:
    sigchld = signal.getsignal(signal.SIGCHLD)
    with wakeup.catching_signals():
        pass

    assert [signal.getsignal(number) for number in HANDLED] == [signal.SIG_IGN] * 3
    assert signal.getsignal(signal.SIGCHLD) is sigchld


def test_sighup_stays_ignored_under_nohup(wakeup: Wakeup) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with wakeup.catching_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not is_readable(wakeup)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_flood_of_commands_is_not_lost_when_the_pipe_is_full(wakeup: Wakeup) -> None:
    for number in range(100_000):
        wakeup.post(number)

    _signals, commands = wakeup.take()
    assert commands == list(range(100_000))


def test_a_command_after_the_end_is_ignored() -> None:
    wakeup = Wakeup()
    wakeup.close()

    wakeup.post("late")
