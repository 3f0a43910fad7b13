"""What Qt says and what slots raise goes to the log, and the loop goes on."""

import sys

import pytest
from PySide6.QtCore import QMessageLogContext, QtMsgType, qDebug, qWarning
from structlog.testing import capture_logs

from ui_proc import fault_log

pytestmark = pytest.mark.usefixtures("qapp")


def test_qts_messages_are_logged_at_their_level():
    with capture_logs() as logs, fault_log.logged_faults():
        qWarning("no such theme")
        qDebug("painting")
        qWarning("This plugin does not support propagateSizeHints()")
    assert [(event["event"], event["log_level"], event["text"]) for event in logs] == [
        ("qt_message_logged", "warning", "no such theme"),
        ("qt_message_logged", "debug", "painting"),
        ("qt_message_logged", "debug", "This plugin does not support propagateSizeHints()"),
    ]


@pytest.mark.parametrize(
    ("kind", "level"),
    [(QtMsgType.QtInfoMsg, "info"), (QtMsgType.QtCriticalMsg, "error"), (QtMsgType.QtFatalMsg, "critical")],
)
def test_the_other_levels(kind, level):
    with capture_logs() as logs:
        fault_log._log_qt_message(kind, QMessageLogContext(), "text")
    assert [(event["log_level"], event["category"]) for event in logs] == [(level, "default")]


def test_an_uncaught_exception_is_logged_with_its_traceback():
    before = sys.excepthook
    with capture_logs() as logs, fault_log.logged_faults():
        try:
            raise KeyError("personId")
        except KeyError:
            sys.excepthook(*sys.exc_info())
    assert sys.excepthook is before
    assert [(event["event"], event["error"]) for event in logs] == [("slot_failed", "KeyError: 'personId'")]
    assert logs[0]["exc_info"][2] is not None
