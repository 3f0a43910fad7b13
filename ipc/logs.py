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


class SafeLogger:
    """A logger whose lines may get lost, but whose calls never raise: a message matters more than a line about it.

    Whoever reads the log may be gone, and a processor of the program's may choke on what it is given.
    """

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def bind(self, **fields: Any) -> "SafeLogger":
        return SafeLogger(self._logger.bind(**fields))

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._logger, name)

        def call_safely(*arguments: Any, **fields: Any) -> Any:
            try:
                return call(*arguments, **fields)
            except Exception:  # noqa: BLE001 - there is nowhere to tell it
                return None

        return call_safely


def get_logger() -> SafeLogger:
    """Return a structlog logger. Call it when work starts, not at import: the program may configure structlog first."""
    if structlog.is_configured():
        return SafeLogger(structlog.get_logger("ipc"))
    is_mute = sys.stderr is None  # started with a closed stderr
    return SafeLogger(
        structlog.wrap_logger(
            structlog.ReturnLogger() if is_mute else structlog.PrintLogger(sys.stderr),
            processors=_PROCESSORS,
            wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        )
    )
