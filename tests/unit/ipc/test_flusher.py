"""The flusher: whatever news there is goes out, soon, and once the flusher is stopped nothing is left."""

import threading

import pytest

from ipc import flusher as flusher_module
from ipc.flusher import Flusher
from tests.unit.ipc.channel import WITHIN_S, eventually, run_together, thread_names


class Channel:
    """Counts what was said and what has gone out."""

    def __init__(self):
        self.said = 0
        self.sent = 0
        self.flushes = 0
        self._lock = threading.Lock()

    def say(self):
        with self._lock:
            self.said += 1

    def flush(self):
        self.flushes += 1
        self.sent = self.said


@pytest.fixture
def channel():
    return Channel()


@pytest.fixture
def flusher(channel):
    flusher = Flusher(channel.flush, "test")
    yield flusher
    flusher.stop(WITHIN_S)
    assert thread_names("ipc-flusher") == []


def test_the_first_news_goes_out_at_once(channel, flusher):
    channel.say()
    flusher.news()
    assert channel.sent == 1
    assert thread_names("ipc-flusher") == []


def test_in_a_dialogue_all_news_goes_out_at_once(channel, flusher):
    for number in range(1, 200):
        channel.say()
        flusher.news()
        assert channel.sent == number
        flusher.heard()


def test_the_last_news_of_a_burst_needs_no_other_to_go_out(channel, flusher):
    for burst in range(1, 100):
        for _ in range(burst % 5 + 1):
            channel.say()
            flusher.news()
        eventually(lambda: channel.sent == channel.said)


def test_a_burst_takes_fewer_flushes_than_news(channel, flusher):
    for _ in range(10_000):
        channel.say()
        flusher.news()
    eventually(lambda: channel.sent == 10_000)
    assert channel.flushes < 5_000


def test_news_of_many_threads_all_goes_out(channel, flusher):
    for _ in range(20):
        run_together(*[lambda: [(channel.say(), flusher.news()) for _ in range(100)]] * 8)
        eventually(lambda: channel.sent == channel.said)


def test_stop_sends_what_is_left(channel):
    for _ in range(50):
        flusher = Flusher(channel.flush, "test")
        for _ in range(3):
            channel.say()
            flusher.news()
        flusher.stop(WITHIN_S)
        assert channel.sent == channel.said
        assert thread_names("ipc-flusher") == []


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the test moves on, and what was slept by it."""
    clock = FakeClock()
    monkeypatch.setattr(flusher_module, "time", clock)
    return clock


class FakeClock:
    def __init__(self):
        self.now = 1000.0
        self.longest_sleep_s = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, pause_s):
        self.longest_sleep_s = max(self.longest_sleep_s, pause_s)
        self.now += pause_s


def test_one_slow_flush_does_not_hold_back_the_next_news_for_as_long(clock):
    flushed_at = []

    def flush():
        flushed_at.append(clock.now)
        if len(flushed_at) == 1:
            clock.now += 3.0  # a disk that was asleep, or the whole process

    flusher = Flusher(flush, "test")
    flusher.news()
    flusher.news()
    eventually(lambda: len(flushed_at) == 2)
    flusher.stop(WITHIN_S)
    assert flushed_at[1] - flushed_at[0] < 3.0 + 0.01
    assert clock.longest_sleep_s <= 0.001  # stop() waits for one of these


def test_a_machine_out_of_threads_sends_in_the_callers(channel, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    flusher = Flusher(channel.flush, "test")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        for number in range(1, 50):
            channel.say()
            flusher.news()
            assert channel.sent == number
    for _ in range(50):  # with threads again
        channel.say()
        flusher.news()
    eventually(lambda: channel.sent == channel.said)
    flusher.stop(WITHIN_S)


@pytest.mark.parametrize("where", ["_flush", "_ring"])
def test_news_that_an_interrupt_breaks_off_goes_out_and_so_does_what_comes_after_it(channel, flusher, where):
    """A signal handler raises: Ctrl-C in a loop that broadcasts."""
    real, is_due = getattr(flusher, where), [True]

    def interrupt():
        if is_due and threading.current_thread() is threading.main_thread():
            is_due.clear()
            raise KeyboardInterrupt
        real()

    setattr(flusher, where, interrupt)

    def broadcast_until_interrupted():
        while is_due:
            channel.say()
            flusher.news()

    with pytest.raises(KeyboardInterrupt):
        broadcast_until_interrupted()
    if where == "_ring":
        channel.say()
        flusher.news()
    eventually(lambda: channel.sent == channel.said)


def test_a_flush_that_fails_does_not_silence_the_channel(channel):
    """Its own thread meets an error, as of a log in a database: the next news goes out all the same."""
    failures = []

    def flush():
        if threading.current_thread().name.startswith("ipc-flusher") and not failures:
            failures.append(1)
            raise OSError("disk I/O error")
        channel.flush()

    flusher = Flusher(flush, "test")
    try:
        while not failures:
            channel.say()
            flusher.news()
        for _ in range(100):
            for _ in range(3):
                channel.say()
                flusher.news()
            eventually(lambda: channel.sent == channel.said)
    finally:
        flusher.stop(WITHIN_S)
