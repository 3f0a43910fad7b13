"""What the server remembers of its clients, and for how many of them."""

import threading

from ipc.clients import ClientRecords


def leave_mark(records, client, last_id):
    """Come, do something, and go."""
    records.arrive(client).last_id = last_id
    records.depart(client)


def test_a_client_finds_its_record_again():
    records = ClientRecords(10)
    leave_mark(records, "a", 7)
    assert records.arrive("a").last_id == 7
    assert records.arrive("b").last_id == 0


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
