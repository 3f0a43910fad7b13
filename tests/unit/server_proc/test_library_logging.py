"""waitress's own messages in the structured log."""

import logging

import pytest
from structlog.testing import capture_logs

from server_proc.library_logging import route_waitress_logging


@pytest.fixture(autouse=True)
def routed():
    loggers = [logging.getLogger("waitress"), logging.getLogger("waitress.queue")]
    before = [(logger.handlers, logger.propagate, logger.level) for logger in loggers]
    route_waitress_logging()
    yield
    for logger, (handlers, propagate, level) in zip(loggers, before, strict=True):
        logger.handlers, logger.propagate = handlers, propagate
        logger.setLevel(level)


def test_a_message_becomes_one_event_with_its_level_and_logger():
    with capture_logs() as logs:
        logging.getLogger("waitress").warning("total open connections reached %s", "the limit")
    (line,) = logs
    assert line["event"] == "library_reported"
    assert line["log_level"] == "warning"
    assert line["logger"] == "waitress"
    assert line["message"] == "total open connections reached the limit"


def test_a_message_goes_nowhere_else():
    assert not logging.getLogger("waitress").propagate


def test_an_exception_keeps_its_traceback():
    with capture_logs() as logs:
        try:
            raise ZeroDivisionError("why")
        except ZeroDivisionError:
            logging.getLogger("waitress").exception("failed")
    assert isinstance(logs[0]["exc_info"][1], ZeroDivisionError)


def test_a_line_for_every_request_that_queues_is_not_logged():
    with capture_logs() as logs:
        logging.getLogger("waitress.queue").warning("Task queue depth is 1")
    assert logs == []


def test_routing_twice_logs_once():
    route_waitress_logging()
    with capture_logs() as logs:
        logging.getLogger("waitress").info("hello")
    assert len(logs) == 1
