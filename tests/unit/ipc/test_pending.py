"""Requests that wait: each ends exactly once."""

import asyncio
import threading

import pytest

from ipc.errors import RequestError
from ipc.pending import PendingRequests, Waiter
from ipc.protocol import Reply, ReplyError

LOST = RequestError("disconnected", "the connection broke")


@pytest.fixture
def pending():
    return PendingRequests(report=lambda _callback: None)


def test_a_reply_ends_its_request(pending):
    outcomes = []
    pending.add(1, outcomes.append)
    pending.resolve(Reply(1, payload={"a": 1}))
    assert outcomes == [{"a": 1}]
    assert not pending.discard(1)


def test_a_reply_without_a_payload_is_an_empty_one(pending):
    outcomes = []
    pending.add(1, outcomes.append)
    pending.resolve(Reply(1))
    assert outcomes == [{}]


def test_an_error_reply_arrives_as_a_typed_error(pending):
    outcomes = []
    pending.add(1, outcomes.append)
    pending.resolve(Reply(1, error=ReplyError("no_such_person", "12345")))
    [error] = outcomes
    assert isinstance(error, RequestError)
    assert (error.code, error.message, str(error)) == ("no_such_person", "12345", "no_such_person: 12345")


def test_a_second_reply_and_one_that_nobody_waits_for_are_ignored(pending):
    outcomes = []
    pending.add(1, outcomes.append)
    pending.resolve(Reply(2, payload={}))
    pending.resolve(Reply(1, payload={}))
    pending.resolve(Reply(1, payload={"late": True}))
    assert outcomes == [{}]


def test_a_discarded_request_ends_silently(pending):
    outcomes = []
    pending.add(1, outcomes.append)
    assert pending.discard(1)
    pending.resolve(Reply(1, payload={}))
    pending.fail_through(10, LOST)
    assert outcomes == []


def test_a_failure_ends_all_up_to_an_id_and_no_more(pending):
    outcomes = []
    for number in (1, 2, 3):
        pending.add(number, lambda outcome, number=number: outcomes.append((number, outcome)))
    pending.fail_through(2, LOST)
    assert outcomes == [(1, LOST), (2, LOST)]
    pending.fail_through(float("inf"), LOST)
    assert outcomes[2:] == [(3, LOST)]


def test_a_callback_may_ask_again(pending):
    """It is called without the lock."""
    outcomes = []
    pending.add(1, lambda _: pending.add(2, outcomes.append))
    pending.resolve(Reply(1, payload={}))
    pending.resolve(Reply(2, payload={}))
    assert outcomes == [{}]


def test_a_callback_that_raises_is_reported_and_the_next_is_called():
    reported, outcomes = [], []
    pending = PendingRequests(report=reported.append)

    def fail(_outcome):
        raise ZeroDivisionError

    for number, callback in enumerate([fail, outcomes.append, fail, outcomes.append], 1):
        pending.add(number, callback)
    pending.fail_through(2, LOST)
    pending.resolve(Reply(3, payload={}))
    pending.resolve(Reply(4, payload={"a": 1}))
    assert outcomes == [LOST, {"a": 1}]
    assert reported == [fail, fail]


@pytest.mark.parametrize("raised", [SystemExit, asyncio.CancelledError])
def test_whatever_a_callback_raises_is_reported(raised):
    reported, outcomes = [], []
    pending = PendingRequests(report=reported.append)

    def fail(_outcome):
        raise raised

    pending.add(1, fail)
    pending.add(2, outcomes.append)
    pending.fail_through(2, LOST)
    assert reported == [fail]
    assert outcomes == [LOST]


def test_the_users_interrupt_is_the_main_threads():
    """A program that is stopping is ended by Ctrl-C all the same."""
    pending = PendingRequests(report=lambda _callback: None)

    def interrupt(_outcome):
        raise KeyboardInterrupt

    pending.add(1, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pending.fail_through(1, LOST)


def test_of_a_reply_and_a_failure_at_once_one_wins(pending):
    for number in range(1, 300):
        outcomes = []
        pending.add(number, outcomes.append)
        start = threading.Barrier(2)

        def fail(number=number, start=start):
            start.wait()
            pending.fail_through(number, LOST)

        thread = threading.Thread(target=fail)
        thread.start()
        start.wait()
        pending.resolve(Reply(number, payload={}))
        thread.join()
        assert len(outcomes) == 1


def test_a_waiter_gets_the_outcome_from_another_thread():
    waiter = Waiter()
    thread = threading.Thread(target=waiter, args=({"a": 1},))
    thread.start()
    assert waiter.wait(40) == {"a": 1}
    thread.join()


@pytest.mark.parametrize("timeout_s", [0.0, 0.01, -1.0])
def test_a_waiter_gives_up(timeout_s):
    assert Waiter().wait(timeout_s) is None


def test_a_waiter_finds_an_outcome_that_was_there_before():
    waiter = Waiter()
    waiter(LOST)
    assert waiter.wait(0.0) is LOST
