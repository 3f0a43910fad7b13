"""A server and clients under test, and what arrives at them. Nothing here sleeps: it waits for what it names."""

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from ipc import Limits, SocketClient
from ipc.traffic import TrafficLog

KEY = b"a test's authkey of 32 bytes and"
WITHIN_S = 40.0
QUICK = Limits(retry_max_s=0.05)
"""For tests that cut connections over and over: the pauses between attempts stay short."""

_LOOK_S = 0.005


def unhurried(**limits: Any) -> Limits:
    """Return the limits of a server that waits for a hello for as long as a busy machine may hold one up."""
    return Limits(**({"handshake_s": 60.0} | limits))


class Arrivals:
    """Keeps what a handler is given, in order, and lets a thread wait for more."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._changed = threading.Condition()

    def __call__(self, *arguments: Any) -> None:
        with self._changed:
            self.items.append(arguments[0] if len(arguments) == 1 else arguments)
            self._changed.notify_all()

    def wait_until(self, is_enough: Callable[[list[Any]], Any], within_s: float = WITHIN_S) -> list[Any]:
        """Return all items once `is_enough(items)`; fail with what there is otherwise."""
        with self._changed:
            arrived = self._changed.wait_for(lambda: is_enough(self.items), within_s)
            assert arrived, f"not within {within_s} s; {len(self.items)} arrived, the last: {self.items[-5:]}"
            return list(self.items)

    def wait_for(self, count: int, within_s: float = WITHIN_S) -> list[Any]:
        """Return the first `count` items once they are here."""
        return self.wait_until(lambda items: len(items) >= count, within_s)[:count]

    def stays_as_it_is(self, for_s: float) -> bool:
        """Tell whether nothing more arrives for a while."""
        with self._changed:
            count = len(self.items)
            return not self._changed.wait_for(lambda: len(self.items) != count, for_s)


class Listener:
    """A client, and everything that its handlers have been given."""

    def __init__(self, path: str, **options: Any) -> None:
        self.client = SocketClient(path, **({"authkey": KEY, "limits": QUICK} | options))
        self.deliveries = Arrivals()
        self.gaps = Arrivals()
        self.states = Arrivals()
        self.client.add_delivery_handler(self.deliveries)
        self.client.add_gap_handler(self.gaps)
        self.client.add_state_handler(self.states)

    def start(self) -> "Listener":
        self.client.start()
        return self

    def wait_live(self) -> "Listener":
        """Wait until the client is live now, not at some time."""
        self.wait_for_state("live")
        return self

    def wait_for_first(self, kind: str) -> Any:
        """Return the first of its states that is of this kind, once there is one; it may have changed since."""
        states = self.states.wait_until(lambda states: any(state.kind == kind for state in states))
        return next(state for state in states if state.kind == kind)

    def wait_for_state(self, *kinds: str, within_s: float = WITHIN_S) -> Any:
        """Return the client's state once it is one of `kinds`."""
        return self.states.wait_until(lambda states: states and states[-1].kind in kinds, within_s)[-1]

    def wait_for_payloads(self, count: int, within_s: float = WITHIN_S) -> list[Any]:
        return [message.payload for message in self.deliveries.wait_for(count, within_s)]

    @property
    def seqs(self) -> list[int]:
        return [message.seq for message in self.deliveries.items]

    @property
    def state_kinds(self) -> list[str]:
        return [state.kind for state in self.states.items]


class LogLines(Arrivals):
    """A structlog processor that keeps every line and prints none."""

    def __call__(self, *arguments: Any) -> Any:
        _logger, method, event = arguments
        super().__call__({"level": method, **event})
        raise structlog.DropEvent

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in list(self.items) if line["event"] == event]

    def wait_for_event(self, event: str, count: int = 1, within_s: float = WITHIN_S) -> list[dict[str, Any]]:
        """Return the first `count` lines of this name once they are here."""

        def are_enough(lines: list[Any]) -> bool:
            return sum(line["event"] == event for line in lines) >= count

        self.wait_until(are_enough, within_s)
        return self.named(event)[:count]


def eventually(check: Callable[[], Any], within_s: float = WITHIN_S) -> Any:
    """Return what `check` returns once that is true. For what nobody tells of: it is looked at again and again."""
    deadline = time.monotonic() + within_s
    pause = threading.Event()
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {within_s} s"
        pause.wait(0.002)
    return found


def time_of(function: Callable[[], Any]) -> float:
    """Return how long `function` takes, in seconds, without the time in which the machine has let us stand.

    What is promised of a time is promised of a machine that has some for us. How long it had none is told by a thread
    that does nothing but look at the clock, and, of the calling thread, by the kernel.
    """
    ended = threading.Event()
    looked_at = began = time.monotonic()
    stood_s = -_processor_wait_s()

    def look(now: float) -> None:
        nonlocal looked_at, stood_s
        stood_s += max(0.0, now - looked_at - 2 * _LOOK_S)
        looked_at = now

    def look_on() -> None:
        while not ended.wait(_LOOK_S):
            look(time.monotonic())

    thread = threading.Thread(target=look_on, name="look-at-the-clock")
    thread.start()
    try:
        function()
        ended_at = time.monotonic()
        stood_s += _processor_wait_s()
    finally:
        ended.set()
        thread.join()
    look(ended_at)
    return ended_at - began - stood_s


def _processor_wait_s() -> float:
    """Return how long the calling thread has waited for a processor in its life, as far as the kernel tells."""
    with contextlib.suppress(OSError), open("/proc/thread-self/schedstat") as file:
        return int(file.read().split()[1]) / 1e9
    return 0.0


def watch_folding(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrafficLog], bool]:
    """Return a function that tells whether a traffic log folds no more, and has told of what was counted until then.

    Before that a message may be counted, and folded, at the moment when folding ends.
    """
    was_folding: dict[TrafficLog, bool] = {}
    write_folded = TrafficLog._write_folded

    def write_and_note(log: TrafficLog) -> int:
        is_folding = log.is_folding
        count = write_folded(log)
        was_folding[log] = is_folding
        return count

    monkeypatch.setattr(TrafficLog, "_write_folded", write_and_note)
    return lambda log: not log.is_folding and not was_folding.get(log)


def thread_names(prefix: str) -> list[str]:
    """Return the names of the threads that run now and whose names begin with `prefix`."""
    return sorted(thread.name for thread in threading.enumerate() if thread.name.startswith(prefix))


def run_together(*functions: Callable[[], None]) -> None:
    """Run each function in a thread of its own, all from the same moment on; raise what one of them raised."""
    start = threading.Barrier(len(functions))
    raised: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            start.wait()
            function()
        except BaseException as error:  # noqa: BLE001 - it is raised again below
            raised.append(error)

    threads = [threading.Thread(target=run, args=(function,), name="run-together") for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if raised:
        raise raised[0]
