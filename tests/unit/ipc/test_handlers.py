"""Handlers: all are called in order, and what one raises ends nothing else."""

import asyncio

import pytest

from ipc.handlers import Handlers


class Log:
    """Keeps what is logged as an error."""

    def __init__(self):
        self.errors = []

    def error(self, event, **fields):
        self.errors.append((event, fields))


@pytest.fixture
def handlers():
    return Handlers()


def test_handlers_are_called_in_the_order_in_which_they_were_added(handlers):
    called = []
    handlers.add(lambda *arguments: called.append(("first", *arguments)))
    handlers.add(lambda *arguments: called.append(("second", *arguments)))
    handlers.call(Log(), 1, "a")
    assert called == [("first", 1, "a"), ("second", 1, "a")]


def test_add_is_a_decorator(handlers):
    @handlers.add
    def handle():
        pass

    assert callable(handle)


def test_only_functions_can_be_added(handlers):
    with pytest.raises(TypeError, match="a handler must be callable, not str"):
        handlers.add("print")


@pytest.mark.parametrize("raised", [ValueError, SystemExit, StopIteration, KeyboardInterrupt, asyncio.CancelledError])
def test_what_one_raises_is_logged_and_the_next_is_called(handlers, raised):
    """Also an exit or a cancellation: it would end a thread that the application does not know."""
    called, log = [], Log()

    def fail():
        raise raised

    handlers.add(fail)
    handlers.add(lambda: called.append(1))
    handlers.call(log)
    assert called == [1]
    [(event, fields)] = log.errors
    assert event == "handler_failed"
    assert "fail" in fields["handler"]
    assert fields["exc_info"]


def test_a_handler_without_a_name_is_named_by_what_it_is(handlers):
    class Failing:
        def __call__(self):
            raise ValueError

        def __repr__(self):
            return "<the failing one>"

    log = Log()
    handlers.add(Failing())
    handlers.call(log)
    assert log.errors[0][1]["handler"] == "<the failing one>"


def test_call_each_is_call_for_one_after_the_other(handlers):
    called, log = [], Log()

    def fail_at_two(number):
        if number == 2:
            raise asyncio.CancelledError

    handlers.add(fail_at_two)
    handlers.add(called.append)
    handlers.call_each(log, [1, 2, 3])
    assert called == [1, 2, 3]
    assert [event for event, _ in log.errors] == ["handler_failed"]


def test_there_are_handlers_or_there_are_none(handlers):
    assert not handlers
    handlers.add(print)
    assert handlers


def test_one_added_by_a_handler_is_called_from_the_next_time_on(handlers):
    called = []
    handlers.add(lambda: handlers.add(lambda: called.append(1)))
    handlers.call(Log())
    assert called == []
    handlers.call(Log())
    assert called == [1]
