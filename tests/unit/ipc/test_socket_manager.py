"""The inbox between a client's thread and the GUI thread, without Qt's help."""

import threading

import pytest

from ipc.socket_manager import _Inbox
from tests.unit.ipc.channel import WITHIN_S, Arrivals, run_together

MANY_BYTES = 1 << 20


def test_one_wake_up_is_enough_for_all_that_comes_before_it_is_empty():
    wakes = Arrivals()
    inbox = _Inbox(10, MANY_BYTES, lambda: wakes(1))
    inbox.put(["a", "b"])
    inbox.put(["c"])
    assert [inbox.take() for _ in range(4)] == ["a", "b", "c", None]
    assert len(wakes.items) == 1
    inbox.put(["d"])
    assert len(wakes.items) == 2
    assert inbox.take() == "d"


@pytest.mark.parametrize(("max_messages", "max_bytes"), [(4, MANY_BYTES), (1000, 400)])
def test_a_full_inbox_holds_who_fills_it_until_there_is_room(max_messages, max_bytes):
    inbox = _Inbox(max_messages, max_bytes, lambda: None)
    inbox.put([1, 2, 3, 4], 400)
    put = Arrivals()
    thread = threading.Thread(target=lambda: put(inbox.put([5])))
    thread.start()
    assert put.stays_as_it_is(0.1)
    assert put.items == []
    taken = [inbox.take() for _ in range(4)]
    put.wait_for(1)
    thread.join()
    assert [*taken, inbox.take(), inbox.take()] == [1, 2, 3, 4, 5, None]


def test_closing_lets_go_of_who_waits_and_keeps_nothing():
    inbox = _Inbox(1, MANY_BYTES, lambda: None)
    inbox.put([1])
    thread = threading.Thread(target=inbox.put, args=([2],))
    thread.start()
    inbox.close()
    thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert inbox.take() is None
    inbox.put([3])  # goes nowhere, and does not wait
    assert inbox.take() is None


@pytest.mark.parametrize(
    ("max_messages", "max_bytes"),
    [(1, MANY_BYTES), (2, MANY_BYTES), (7, MANY_BYTES), (1000, MANY_BYTES), (1000, 1), (1000, 50)],
)
def test_everything_arrives_in_order_and_nobody_is_forgotten(max_messages, max_bytes):
    """One thread puts, another takes when it is woken, as the GUI does."""
    wakes = threading.Semaphore(0)
    inbox = _Inbox(max_messages, max_bytes, wakes.release)
    total = 20_000
    taken = []

    def put():
        number = 0
        while number < total:
            batch = list(range(number, min(total, number + number % 5 + 1)))
            inbox.put(batch, 10 * len(batch))
            number += len(batch)

    def take():
        while len(taken) < total:
            assert wakes.acquire(timeout=WITHIN_S)
            while (item := inbox.take()) is not None:
                taken.append(item)

    run_together(put, take)
    assert taken == list(range(total))
