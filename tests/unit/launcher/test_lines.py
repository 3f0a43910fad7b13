"""Bytes to lines: nothing is lost, nothing is unbounded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.lines import LineSplitter


def test_a_partial_line_waits_for_its_end() -> None:
    splitter = LineSplitter()

    assert splitter.feed(b"one\ntw") == [b"one"]
    assert splitter.feed(b"o") == []
    assert splitter.feed(b"\nthree\r\n") == [b"two", b"three"]
    assert splitter.flush() == []


def test_flush_returns_the_rest_once() -> None:
    splitter = LineSplitter()
    splitter.feed(b"last words")

    assert splitter.flush() == [b"last words"]
    assert splitter.flush() == []


def test_a_long_line_is_cut_also_when_its_end_never_comes() -> None:
    splitter = LineSplitter(max_line_bytes=4)

    assert splitter.feed(b"abcdefghi\n") == [b"abcd", b"efgh", b"i"]
    assert splitter.feed(b"abcdefghi") == [b"abcd", b"efgh"]
    assert splitter.feed(b"j\n") == [b"ij"]


@given(chunks=st.lists(st.binary(max_size=40)), size=st.integers(1, 20))
def test_no_byte_is_lost_and_no_line_is_too_long(chunks: list[bytes], size: int) -> None:
    splitter = LineSplitter(size)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.flush()

    assert b"".join(lines).replace(b"\r", b"") == b"".join(chunks).replace(b"\n", b"").replace(b"\r", b"")
    assert all(len(line) <= size for line in lines)
