"""Sizes as people write them."""

from __future__ import annotations

import pytest

from launcher.sizes import parse_size, size_words


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("300M", 300 << 20), ("1.5G", 3 << 29), ("300 MiB", 300 << 20), ("2kb", 2048), ("17", 17), ("1T", 1 << 40)],
)
def test_sizes_are_read_in_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "M", "-5M", "1e9", "300X", "300 M B", "nan", "\u0663M", "9" * 400])
def test_what_is_no_size_is_said_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="write 300M"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size_bytes", "words"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (300 << 20, "300 MiB"), (3 << 29, "1.5 GiB")],
)
def test_a_size_for_a_person(size_bytes: int, words: str) -> None:
    assert size_words(size_bytes) == words
