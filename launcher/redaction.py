"""Keeps secrets out of the log by the names they go by. Pure."""

from __future__ import annotations

import functools
import re
from typing import Any

REDACTED = "[redacted]"
_SECRET_NAME = re.compile(
    r"(?i:authkey|secret|password|passwd|authorization|cookie|credential)|(?i:(^|[_-])(key|token)s?$)|(Key|Token)$"
)


def redact(event: dict[str, Any]) -> dict[str, Any]:
    """Return `event` with the values of secret-sounding names replaced, also within dicts and lists."""
    return {key: REDACTED if is_secret_name(key) else _redact_value(value) for key, value in event.items()}


@functools.lru_cache(maxsize=1024)
def is_secret_name(name: str) -> bool:
    """Whether a value of this name is none of a log's business."""
    return _SECRET_NAME.search(name) is not None


def _redact_value(value: Any) -> Any:
    if isinstance(value, dict):
        return redact({str(key): inner for key, inner in value.items()})
    if isinstance(value, list | tuple):
        return [_redact_value(item) for item in value]
    return value
