"""Keeps secrets out of the log: by the names they go by, also within text, and those we know by their value. Pure."""

from __future__ import annotations

import base64
import functools
import re
from collections.abc import Iterable
from typing import Any

import msgspec

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(?i:authkey|secret|password|passwd|authorization|cookie|credential)|(?i:(^|[_-])(key|token)s?$)|(Key|Token)$"
)
_CHECKED_BY_THE_SERVER = frozenset({"request_id", "requestId"})
"""Of a client's choice, but one short word: what looks like a named secret in it is a name, such as "door-key:42"."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}", re.ASCII)
_HINTS = (b"key", b"token", b"secret", b"passw", b"authorization", b"cookie", b"credential", b"bearer", b"://", b"\\u")
"""Every secret name has one of these in it, or is written with escapes. Most lines have none: they need no search."""

_NAMED_IN_TEXT = re.compile(
    # No second try anywhere: a line of 64 KiB without a space must not cost more than its length.
    r"""(?<![\w-])(?P<name>[\w-]++)(?P<is>["']?\s*+[=:]\s*+)"""
    r"""(?P<value>b?"[^"]*+(?:"|$)|b?'[^']*+(?:'|$)|(?i:bearer\s|basic\s)?[^\s"',;&)\]}]++)"""
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[\w.~+/=-]{8,}")
_URL_PASSWORD = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")


class Redactor:
    """Takes secrets out of events. `known` are values that must not appear under any name, in any usual spelling."""

    def __init__(self, known: Iterable[bytes] = ()) -> None:
        spelled = [text for value in known for text in _spellings(value)]
        self._known = re.compile("|".join(map(re.escape, spelled))) if spelled else None
        as_json = (msgspec.json.encode(text)[1:-1] for text in spelled)
        self._hints = (*_HINTS, *(hint.lower() for hint in (*map(str.encode, spelled), *as_json)))

    def suspects(self, lines: bytes) -> bool:
        """Tell cheaply whether there may be a secret in text or JSON."""
        text = lines.lower()
        return any(hint in text for hint in self._hints)

    def redact(self, event: dict[str, Any]) -> dict[str, Any]:
        """Return `event` without the values of secret-sounding names, at any depth, and without those in texts."""
        try:
            return self._redact_dict(event)
        except RecursionError:
            # Nested as no sensible event is: what cannot be looked through is not shown.
            return self._redact_dict({key: value for key, value in event.items() if isinstance(value, str)})

    def _redact_dict(self, values: dict[str, Any]) -> dict[str, Any]:
        return {
            self._redact_text(key): REDACTED if is_secret_name(key) else self._redact_member(key, value)
            for key, value in values.items()
        }

    def _redact_member(self, name: str, value: Any) -> Any:
        if name in _CHECKED_BY_THE_SERVER and isinstance(value, str) and _REQUEST_ID.fullmatch(value):
            return self._redact_known(value)
        return self._redact_value(value)

    def _redact_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._redact_text(value)
        if isinstance(value, dict):
            return self._redact_dict({str(key): inner for key, inner in value.items()})
        if isinstance(value, list | tuple):
            return [self._redact_value(item) for item in value]
        return value

    def _redact_known(self, text: str) -> str:
        return text if self._known is None else self._known.sub(REDACTED, text)

    def _redact_text(self, text: str) -> str:
        text = self._redact_known(text)
        text = _URL_PASSWORD.sub(rf"\1{REDACTED}@", text)
        text = _NAMED_IN_TEXT.sub(_without_value, text)
        return _BEARER.sub(rf"\1{REDACTED}", text)


@functools.lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether a value of this name is none of a log's business."""
    return _SECRET_NAME.search(name) is not None


def _without_value(found: re.Match[str]) -> str:
    if not is_secret_name(found["name"]) or found["value"].startswith(REDACTED[:-1]):
        return found[0]
    return f"{found['name']}{found['is']}{REDACTED}"


def _spellings(value: bytes) -> list[str]:
    return [value.hex(), value.hex().upper(), base64.b64encode(value).decode(), repr(value)[2:-1]]
