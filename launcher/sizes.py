"""Sizes as people write them. Pure."""

from __future__ import annotations

import re

_SIZE = re.compile(r"\s*([0-9]{1,18}(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(text: str) -> int:
    """Return the bytes that "300M", "1.5G", "300MiB" or "314572800" mean. Raises ValueError."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a size: write 300M or 1.5G")
    return int(float(match[1]) * _FACTORS[match[2].upper()])


def size_words(size_bytes: float) -> str:
    """Return a size for a person: "296 MiB"."""
    units = ["TiB", "GiB", "MiB", "KiB", "bytes"]
    while size_bytes >= 1024 and len(units) > 1:
        size_bytes /= 1024
        units.pop()
    digits = 0 if size_bytes >= 10 or units[-1] == "bytes" else 1
    return f"{size_bytes:.{digits}f} {units[-1]}"
