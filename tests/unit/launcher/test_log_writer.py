"""A writer never makes anybody wait, and says what it lost."""

from __future__ import annotations

import threading
from collections.abc import Callable

from launcher.log_writer import LogTarget, LogWriter, PartlyWritten, close_all


def writer(
    write: Callable[[list[bytes]], None],
    max_bytes: int = 1 << 20,
    give_way_s: float = 10.0,
    on_failure: Callable[[str, OSError], bool] = lambda _name, _error: False,
) -> LogWriter:
    return LogWriter(
        LogTarget(
            name="test",
            write=write,
            count_line=lambda name, count: f"{name} lost {count}".encode(),
            on_failure=on_failure,
            max_bytes=max_bytes,
            give_way_s=give_way_s,
        )
    )


def test_lines_arrive_in_order_and_close_waits_for_them() -> None:
    lines: list[bytes] = []
    it = writer(lines.extend)
    it.start()
    for number in range(1000):
        it.put([b"%d" % number])

    assert it.close(5)
    assert lines == [b"%d" % number for number in range(1000)]


def test_a_target_that_stands_still_costs_lines_not_time_and_the_loss_is_said() -> None:
    lines: list[bytes] = []
    is_writing, may_go_on = threading.Event(), threading.Event()

    def stand_still(batch: list[bytes]) -> None:
        is_writing.set()
        may_go_on.wait(10)
        lines.extend(batch)

    it = writer(stand_still, max_bytes=1000)
    it.start()
    it.put([b"first"])
    assert is_writing.wait(10)
    for _ in range(100):
        it.put([b"x" * 36])  # 100 bytes with their overhead: ten fit
    may_go_on.set()

    assert it.close(5)
    assert lines == [b"first", *[b"x" * 36] * 10, b"test lost 90"]


def test_close_gives_up_on_a_target_that_never_returns() -> None:
    may_end = threading.Event()
    it = writer(lambda _batch: may_end.wait(10) and None)
    it.start()
    it.put([b"stuck"])

    assert not it.close(0.05)
    may_end.set()
    assert it.close(5)


def test_a_target_that_nobody_reads_ends_the_writer_and_further_lines_are_let_go() -> None:
    failures: list[str] = []

    def fail(_batch: list[bytes]) -> None:
        raise BrokenPipeError("nobody reads")

    def give_up(name: str, error: OSError) -> bool:
        failures.append(f"{name}: {error}")
        return False

    it = writer(fail, on_failure=give_up)
    it.start()
    it.put([b"line"])
    assert it.close(5)
    it.put([b"late"])

    assert failures == ["test: nobody reads"]


def test_a_target_that_recovers_gets_the_next_lines_and_the_number_of_lost_ones() -> None:
    lines: list[bytes] = []
    has_failed = threading.Event()

    def fail_once(batch: list[bytes]) -> None:
        if not has_failed.is_set():
            raise OSError("disk full")
        lines.extend(batch)

    def go_on(_name: str, _error: OSError) -> bool:
        has_failed.set()
        return True

    it = writer(fail_once, on_failure=go_on)
    it.start()
    it.put([b"lost"])
    assert has_failed.wait(10)
    it.put([b"kept"])

    close_all([it], 5)
    assert sorted(lines) == [b"kept", b"test lost 1"]


class Gate:
    """A target that stands still until it is opened."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.is_reached, self.is_open = threading.Event(), threading.Event()

    def write(self, batch: list[bytes]) -> None:
        self.is_reached.set()
        self.is_open.wait(10)
        self.lines += batch


def stuck(max_bytes: int, give_way_s: float = 10.0) -> tuple[Gate, LogWriter]:
    """Return a writer whose queue is empty and whose thread is held up."""
    gate = Gate()
    it = writer(gate.write, max_bytes=max_bytes, give_way_s=give_way_s)
    it.start()
    it.put([b"first"])
    assert gate.is_reached.wait(10)
    return gate, it


def test_the_loss_is_said_where_it_happened_and_once_for_a_gap() -> None:
    gate, it = stuck(max_bytes=1000)
    it.put([b"x" * 36] * 20)
    it.put([b"ours"], reserve_bytes=100)
    it.put([b"y" * 36] * 5)
    gate.is_open.set()

    assert it.close(5)
    assert gate.lines == [b"first", *[b"x" * 36] * 10, b"test lost 10", b"ours", b"test lost 5"]


def test_what_was_written_and_what_is_said_to_be_lost_add_up_over_failures_too() -> None:
    written: list[bytes] = []
    has_tried = threading.Semaphore(0)
    rooms = iter([3, 0, 4, 0])

    def write(batch: list[bytes]) -> None:
        room = next(rooms, 100)
        written.extend(batch[:room])
        has_tried.release()
        if len(batch) > room:
            raise PartlyWritten(OSError(28, "disk full"), room)

    it = writer(write, on_failure=lambda _name, _error: True)
    it.start()
    for _ in range(6):
        it.put([b"line"] * 10)
        assert has_tried.acquire(timeout=10)
    assert it.close(5)

    lost = sum(int(line.split()[-1]) for line in written if line != b"line")
    assert written.count(b"line") + lost == 60
    assert lost > 20


def test_a_target_that_never_recovers_does_not_hold_up_the_end() -> None:
    def fail(_batch: list[bytes]) -> None:
        raise OSError("disk full")

    it = writer(fail, on_failure=lambda _name, _error: True)
    it.start()
    it.put([b"lost"])

    assert it.close(5)


def test_a_slow_target_is_given_way_to_and_loses_nothing() -> None:
    gate, it = stuck(max_bytes=2000)
    it.put([b"x" * 36] * 15)
    threading.Timer(0.05, gate.is_open.set).start()

    it.give_way()
    it.put([b"y" * 36] * 15)

    assert it.close(5)
    assert gate.lines == [b"first", *[b"x" * 36] * 15, *[b"y" * 36] * 15]


def test_a_target_that_stands_still_is_waited_for_only_a_moment() -> None:
    gate, it = stuck(max_bytes=2000, give_way_s=0.001)
    it.put([b"x" * 36] * 15)

    it.give_way()  # which would hang otherwise

    gate.is_open.set()
    assert it.close(5)


def test_a_target_that_has_let_its_queue_fill_up_is_not_waited_for() -> None:
    gate, it = stuck(max_bytes=2000, give_way_s=3600.0)
    it.put([b"x" * 36] * 30)

    it.give_way()  # which would take an hour otherwise

    gate.is_open.set()
    assert it.close(5)
    assert gate.lines[-1] == b"test lost 10"
