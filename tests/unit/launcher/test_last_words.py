"""What is kept of a process for the report about its death."""

from __future__ import annotations

from launcher.last_words import MAX_LINES, LastWords, latest

DUMP = [
    b"Fatal Python error: Segmentation fault",
    b"",
    b"Thread 0x00007f0 [worker] (most recent call first):",
    b'  File "/x/threading.py", line 324 in wait',
    b"",
    b"Current thread 0x00007f1 (most recent call first):",
    b'  File "/x/main.py", line 7 in main',
    b"  ...",
    b"Extension modules: _cffi_backend, msgspec._core (total: 2)",
]


def test_the_latest_lines_are_kept_and_blank_ones_are_not_lines() -> None:
    words = LastWords()
    words.note([b"%d" % number for number in range(1000)])
    words.note([b"", b"  "] * 5000)
    words.note([b"last"])

    assert words.lines == (*(b"%d" % number for number in range(801, 1000)), b"last")
    assert len(words.lines) == MAX_LINES


def test_few_lines_among_many_blank_ones_are_all_found() -> None:
    words = LastWords()
    words.note([b"one", *[b""] * 5000, b"two"])

    assert words.lines == (b"one", b"two")


def test_a_long_line_does_not_fill_the_memory() -> None:
    words = LastWords()
    words.note([b"x" * 65536] * 300)

    assert 1 << 19 < sum(map(len, words.lines)) <= 1 << 20
    words.note([b"y" * 300] * 200)
    assert words.lines == (b"y" * 300,) * 200


def test_a_dump_is_recognised_among_what_others_print_meanwhile() -> None:
    words = LastWords()
    assert words.note([b"before", b"half a line" + DUMP[0], *DUMP[1:4], b"somebody else"]) == 1
    assert words.note([*DUMP[4:], b'{"event":"x"}']) == 0

    assert list(words.dump) == [line for line in DUMP if line]


def test_the_last_dump_counts_and_a_process_without_one_has_none() -> None:
    words = LastWords()
    assert words.note([b"Traceback (most recent call last):", b'  File "x.py", line 1, in f']) == 2
    assert words.dump == ()
    words.note([*DUMP, b"Fatal Python error: Aborted"])

    assert words.dump == (b"Fatal Python error: Aborted",)


def test_a_process_that_only_talks_of_dumps_does_not_get_away_with_it_for_ever() -> None:
    words = LastWords()
    assert words.note([DUMP[0]]) == 0
    assert words.note([b"x" * 65536] * 16) == 0

    assert words.note([b"x", DUMP[0]]) == 2
    assert words.dump == (DUMP[0],)


def test_what_was_printed_before_the_dump_does_not_shorten_it() -> None:
    words = LastWords()

    assert words.note([*[b"x" * 65536] * 32, DUMP[0]]) == 32
    assert words.note(DUMP[1:]) == 0


def test_a_long_dump_does_not_push_the_latest_lines_out() -> None:
    words = LastWords()
    words.note([b"%d" % number for number in range(MAX_LINES)])
    frames = [b'  File "/x/main.py", line %d in main' % number for number in range(300)]
    words.note([b"half a line" + DUMP[0], *frames[:150], b"said meanwhile"])
    words.note(frames[150:])

    assert words.dump == (DUMP[0], *frames)
    kept = [b"%d" % number for number in range(2, MAX_LINES)]
    assert words.lines == (*kept, b"half a line" + DUMP[0], b"said meanwhile")


def test_the_latest_lines_are_bounded_in_bytes_too() -> None:
    assert latest([b"%d" % number for number in range(300)] + [b""]) == [b"%d" % number for number in range(100, 300)]
    assert latest([b"x" * 65536] * 100) == [b"x" * 65536] * 16
