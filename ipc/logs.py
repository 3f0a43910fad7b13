"""Where this package's log lines go: to structlog as the program has set it up, or, if it has not, warnings to stderr.

A library that prints every message to the stdout of a plain script would be in the way of that script.
"""

import logging
import sys
from typing import Any

import structlog

# Tracebacks without the values of variables: those are messages, and messages are personal data.
_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
]


def get_logger() -> Any:
    """Return a structlog logger. Call it when work starts, not at import: the program may configure structlog first."""
    if structlog.is_configured():
        return structlog.get_logger("ipc")
    is_mute = sys.stderr is None  # started with a closed stderr
    return structlog.wrap_logger(
        structlog.ReturnLogger() if is_mute else structlog.PrintLogger(sys.stderr),
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
    )
