"""The latest lines by their numbers."""

from __future__ import annotations

from launcher.log_ring import LogRing, Slice

ALL = 1 << 20


def test_lines_are_read_after_a_number() -> None:
    ring = LogRing()
    ring.put([b"one", b"two"])
    ring.put([b"three"])

    assert ring.read(0, ALL) == Slice(3, [b"one", b"two", b"three"], 0)
    assert ring.read(2, ALL) == Slice(3, [b"three"], 0)
    assert ring.read(3, ALL) == Slice(3, [], 0)


def test_a_reader_takes_bites_and_at_least_a_line() -> None:
    ring = LogRing()
    ring.put([b"one", b"two", b"three"])

    assert ring.read(0, 6) == Slice(2, [b"one", b"two"], 0)
    assert ring.read(2, 1) == Slice(3, [b"three"], 0)


def test_a_reader_that_was_overtaken_learns_how_much_it_missed() -> None:
    ring = LogRing(max_lines=2)
    ring.put([b"one", b"two", b"three", b"four"])

    assert ring.read(1, ALL) == Slice(4, [b"three", b"four"], 1)
    assert ring.newest == 4


def test_memory_is_bounded_by_bytes_too() -> None:
    ring = LogRing(max_bytes=8)
    ring.put([b"12345", b"6789"])
    assert ring.read(0, ALL) == Slice(2, [b"6789"], 1)
    ring.put([b"much too large"])

    assert ring.read(2, ALL) == Slice(3, [], 1)


def test_whoever_follows_is_called() -> None:
    ring = LogRing()
    calls: list[int] = []
    ring.put([b"one"])
    ring.call_on_news(lambda: calls.append(ring.newest))
    ring.put([b"two"])
    ring.call_on_news(None)
    ring.put([b"three"])

    assert calls == [2]
