"""How a child speaks: structlog, the standard library's logging and stray prints, all as lines on the log pipe.

Owns the child's descriptors 1 and 2 and its logging set-up. Must not know what the launcher makes of the lines.
Called once, on the child's main thread, before anything of the application is imported.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
from typing import Any, TextIO

import structlog

from launcher.lines import MAX_LINE_BYTES
from launcher.log_events import to_json

_CUT_TEXT = 1000


def redirect_output(log_descriptor: int) -> None:
    """Point stdout and stderr at the log pipe, for C code too, and have fatal signals dump every thread there."""
    os.dup2(log_descriptor, 1)
    os.dup2(log_descriptor, 2)
    # New objects: the old ones know their descriptor as a file or terminal, with its position and its buffering.
    sys.stdout = _open_text(1)
    sys.stderr = _open_text(2)
    faulthandler.enable(file=2, all_threads=True)


def _open_text(descriptor: int) -> TextIO:
    # Line by line, so that what was printed before a SIGKILL is not lost.
    return open(descriptor, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def configure(level: str) -> None:
    """Have every structlog event, and every record of `logging`, become one JSON line on stderr."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    stderr = open(2, "wb", closefd=False)  # noqa: SIM115 - for the life of the process
    structlog.configure(
        processors=[*shared, _to_line],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, _name_record, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _to_text],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.captureWarnings(True)


def _name_record(_logger: Any, _method: str, event: Any) -> Any:
    """Give a record of `logging` a constant name; what it says becomes its message."""
    event["message"] = event["event"]
    event["event"] = "library_reported"
    return event


def _to_line(_logger: Any, _method: str, event: Any) -> bytes:
    # First, so that the launcher finds it behind something printed without a newline.
    event = {"event": event.pop("event", ""), **event}
    line = to_json(event)
    if len(line) <= MAX_LINE_BYTES:
        return line
    # The launcher would cut it, and half an event is not an event.
    return to_json({key: _shortened(value) for key, value in event.items()})[:MAX_LINE_BYTES]


def _to_text(logger: Any, method: str, event: Any) -> str:
    return _to_line(logger, method, event).decode()


def _shortened(value: Any) -> Any:
    text = value if isinstance(value, str) else repr(value)
    if len(text) <= _CUT_TEXT:
        return value
    return f"{text[:_CUT_TEXT]}... ({len(text)} characters)"
