"""What the server remembers of its clients, and for how many of them."""

import threading

from ipc.clients import ClientRecords
from tests.unit.ipc.channel import Arrivals, eventually


def leave_mark(records, client, last_id):
    """Come, do something, and go."""
    records.arrive(client).last_id = last_id
    records.depart(client)


def test_a_client_finds_its_record_again():
    records = ClientRecords(10)
    leave_mark(records, "a", 7)
    assert records.arrive("a").last_id == 7
    assert records.arrive("b").last_id == 0


def test_the_newest_connection_handles_and_no_other():
    record = ClientRecords(10).arrive("a")
    assert record.take_over("older", 1.0) == 0
    assert record.begin("older", 1) is True
    record.end()
    assert record.begin("older", 1) is False
    assert record.take_over("newer", 1.0) == 1
    assert record.begin("older", 2) is None
    assert record.begin("newer", 2) is True
    record.end()


def test_a_message_in_the_middle_of_which_an_older_connection_is_is_waited_for():
    record = ClientRecords(10).arrive("a")
    record.take_over("older", 1.0)
    assert record.begin("older", 1)
    taken = Arrivals()
    thread = threading.Thread(target=lambda: taken(record.take_over("newer", 10.0)))
    thread.start()
    assert taken.stays_as_it_is(0.05)
    assert taken.items == []
    record.end()
    assert taken.wait_for(1) == [1]
    thread.join()


def test_a_message_that_takes_too_long_is_not_waited_for():
    record = ClientRecords(10).arrive("a")
    record.take_over("older", 1.0)
    assert record.begin("older", 1)
    assert record.take_over("newer", 0.02) is None


def test_a_still_newer_connection_ends_the_wait_of_a_newer_one():
    record = ClientRecords(10).arrive("a")
    record.take_over("oldest", 1.0)
    assert record.begin("oldest", 1)
    taken = Arrivals()
    threads = []
    for name in ("newer", "newest"):
        threads.append(
            threading.Thread(target=lambda name=name: taken((name, record.take_over(name, 10.0))), name=name)
        )
        threads[-1].start()
        eventually(lambda name=name: record.owner == name)
    assert taken.wait_for(1) == [("newer", None)]
    record.end()
    assert taken.wait_for(2)[1] == ("newest", 1)
    for thread in threads:
        thread.join()


def test_those_that_have_said_nothing_take_no_room():
    records = ClientRecords(2)
    leave_mark(records, "a", 7)
    for number in range(10):
        leave_mark(records, f"silent {number}", 0)
    assert records.arrive("a").last_id == 7


def test_the_one_that_left_first_makes_room():
    records = ClientRecords(2)
    for number, client in enumerate(["first", "second", "third"], 1):
        leave_mark(records, client, number)
    assert [records.arrive(client).last_id for client in ("first", "second", "third")] == [0, 2, 3]


def test_who_is_here_is_never_forgotten():
    records = ClientRecords(2)
    loyal = records.arrive("loyal")
    for number in range(5):
        leave_mark(records, f"passing by {number}", 1)
    assert records.arrive("loyal") is loyal


def test_a_client_with_two_connections_is_here_until_both_are_gone():
    records = ClientRecords(1)
    record = records.arrive("a")
    assert records.arrive("a") is record
    records.depart("a")
    leave_mark(records, "b", 1)
    assert records.arrive("a") is record


def test_a_connection_is_not_kept_by_the_record_of_a_client_that_is_gone():
    records = ClientRecords(10)
    record = records.arrive("a")
    record.take_over("a connection with its buffers", 1.0)
    records.depart("a")
    assert record.owner is None


def test_threads_that_ask_at_once_get_the_same_record():
    records = ClientRecords(100)
    start = threading.Barrier(8)
    found = []

    def ask():
        start.wait()
        found.extend(records.arrive(f"client {number}") for number in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(record) for record in found}) == 50
