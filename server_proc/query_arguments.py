"""Reading a query string: each argument is known, given once, and right. Pure; any thread.

An argument that was passed over in silence would mean an answer to another question: all marks instead of one person's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from server_proc.marks import text_fault
from server_proc.problems import FieldError
from server_proc.timestamps import TimestampError, parse_timestamp_ms

Pairs = Iterable[tuple[str, str]]


def query_pairs(environ: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and texts of a request's query string; what is not UTF-8 in a text is kept as lone surrogates.

    Flask's `request.args` would make `%FF` the text "%FF", which may be somebody.
    """
    query = environ.get("QUERY_STRING", "").encode("latin-1").decode(errors="surrogateescape")
    pairs = parse_qsl(query, keep_blank_values=True, errors="surrogateescape")
    return [(name.encode(errors="backslashreplace").decode(), text) for name, text in pairs]


class QueryArguments:
    """The arguments of one request; `errors` collects every one that is wrong."""

    def __init__(self, pairs: Pairs, known: tuple[str, ...]) -> None:
        self.errors: list[FieldError] = []
        self._values = self._single_values(pairs, known)

    def number(self, name: str, bounds: tuple[int, int], default: int) -> int:
        text = self._values.get(name)
        if text is None:
            return default
        low, high = bounds
        if text.isascii() and text.isdigit() and len(text) < 20 and low <= int(text) <= high:
            return int(text)
        self.errors.append(FieldError(name, f"must be a whole number from {low} to {high}"))
        return default

    def text(self, name: str) -> str | None:
        text = self._values.get(name)
        if text is not None and (fault := text_fault(text)) is not None:
            is_utf8 = text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)
            self.errors.append(FieldError(name, fault if is_utf8 else "must be percent-encoded UTF-8"))
        return text

    def moment_ms(self, name: str) -> int | None:
        text = self._values.get(name)
        if text is None:
            return None
        try:
            # An unescaped "+01:00" in a URL arrives as " 01:00"; RFC 3339 has no other blank after the first 19
            # characters.
            return parse_timestamp_ms(text[:19] + text[19:].replace(" ", "+"))
        except TimestampError as error:
            self.errors.append(FieldError(name, str(error)))
            return None

    def _single_values(self, pairs: Pairs, known: tuple[str, ...]) -> Mapping[str, str]:
        values: dict[str, str] = {}
        for name, text in pairs:
            if name not in known:
                self.errors.append(FieldError(name, f"is not known here: there are {', '.join(known)}"))
            elif name in values:
                self.errors.append(FieldError(name, "must be given once"))
            values[name] = text
        return values
