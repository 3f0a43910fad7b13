"""What the server remembers of its clients, and for how many of them."""

import threading

from ipc.clients import ClientRecords


def test_a_client_finds_its_record_again():
    records = ClientRecords(10)
    record = records.get("a")
    assert record.last_id == 0
    record.last_id = 7
    assert records.get("a") is record
    assert records.get("b").last_id == 0


def test_the_one_not_seen_for_longest_makes_room():
    records = ClientRecords(2)
    first, second = records.get("first"), records.get("second")
    assert records.get("first") is first
    records.get("third")
    assert records.get("first") is first
    assert records.get("second") is not second


def test_threads_that_ask_at_once_get_the_same_record():
    records = ClientRecords(100)
    start = threading.Barrier(8)
    found = []

    def ask():
        start.wait()
        found.extend(records.get(f"client {number}") for number in range(50))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(record) for record in found}) == 50
