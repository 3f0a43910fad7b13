"""Sends what Qt says, and what slots raise, to the log.

Owns Qt's message handler and `sys.excepthook` while the window runs. Must not know the window. Qt calls the handler on
whichever thread speaks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

import structlog
from PySide6.QtCore import QMessageLogContext, QtMsgType, qInstallMessageHandler

LEVELS = {
    QtMsgType.QtDebugMsg: "debug",
    QtMsgType.QtInfoMsg: "info",
    QtMsgType.QtWarningMsg: "warning",
    QtMsgType.QtCriticalMsg: "error",
    QtMsgType.QtFatalMsg: "critical",
}
# The offscreen platform says this at each start about windows that have a smallest size; there is nothing to mend.
HARMLESS = ("This plugin does not support propagateSizeHints()",)

log = structlog.get_logger()


@contextmanager
def logged_faults() -> Iterator[None]:
    """Log Qt's messages and uncaught exceptions of slots for as long as the block runs."""
    earlier_hook = sys.excepthook
    earlier_handler = qInstallMessageHandler(_log_qt_message)
    sys.excepthook = _log_exception
    try:
        yield
    finally:
        sys.excepthook = earlier_hook
        qInstallMessageHandler(earlier_handler)


def _log_qt_message(kind: QtMsgType, context: QMessageLogContext, text: str) -> None:
    level = "debug" if text in HARMLESS else LEVELS.get(kind, "warning")
    getattr(log, level)("qt_message_logged", text=text, category=context.category or "default")


def _log_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    # PySide calls this for an exception that a slot or an override let out; the event loop goes on.
    log.error("slot_failed", error=f"{kind.__name__}: {error}", exc_info=(kind, error, trace))
