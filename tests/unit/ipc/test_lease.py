"""Who reads when the lease is out, on a connection that only says whether it was read from."""

import pytest

from ipc.errors import ProtocolError
from ipc.lease import Lease
from ipc.protocol import FromServer, ObjectDecoder


class FakeConnection:
    """Hands out prepared frames, and notes how often it was asked."""

    def __init__(self, *reads):
        self.reads = list(reads)
        self.asked = 0

    def receive(self, *, soon):
        assert soon
        self.asked += 1
        read = self.reads.pop(0) if self.reads else []
        return read if read is None else [memoryview(body) for body in read]


def lent(*reads, awaited=(1, 2)):
    """Return a lease that is out, its connection, what it replied, and a way to see what it leaves to its owner."""
    replies = []
    connection = FakeConnection(*reads)
    lease = Lease(replies.append, awaited.__contains__)
    lease.begin(connection, ObjectDecoder(FromServer))
    lease.is_out = True  # as in the middle of `lend`
    return lease, connection, replies, lambda: lease._found


def test_a_caller_reads_its_own_reply():
    lease, _, replies, returned = lent([b'{"op":"reply","id":1,"payload":{}}'])
    lease.read_reply(1)
    assert [reply.id for reply in replies] == [1]
    assert returned() == []


def test_a_reply_that_has_come_already_is_not_read_for():
    lease, connection, replies, returned = lent([b'{"op":"ping","n":1}'], awaited=())
    lease.read_reply(1)
    assert (connection.asked, replies) == (0, [])
    assert returned() == []


@pytest.mark.parametrize(
    "frame",
    [
        b'{"op":"reply","id":2,"payload":{}}',
        b'{"op":"message","seq":1,"ts":1.5,"payload":{}}',
        b'{"op":"reply","id":1,"payload":{}}\n{"op":"ping","n":1}',
    ],
)
def test_anything_else_is_left_to_the_clients_thread(frame):
    lease, _, replies, returned = lent([frame])
    lease.read_reply(1)
    assert replies == []
    assert len(returned()) == 1


def test_after_something_was_left_nobody_reads_past_it():
    lease, connection, replies, returned = lent([b'{"op":"ping","n":1}'], [b'{"op":"reply","id":1,"payload":{}}'])
    lease.read_reply(1)
    lease.read_reply(1)
    assert (connection.asked, replies) == (1, [])
    assert len(returned()) == 1


@pytest.mark.parametrize("read", [[], None])
def test_silence_and_the_end_are_the_clients_threads_business(read):
    lease, _, replies, returned = lent(read)
    lease.read_reply(1)
    assert replies == []
    assert returned() == []


def test_a_broken_frame_is_raised_where_the_client_reads_after_what_came_before_it():
    lease, _, replies, returned = lent([b'{"op":"ping","n":1}', b"garbage"])
    lease.read_reply(1)
    assert [type(objects[0]).__name__ for objects in returned()] == ["Ping"]
    assert lease.has_failed
    with pytest.raises(ProtocolError):
        lease.lend()
    assert not lease.has_failed
    assert replies == []


def test_what_was_left_is_returned_when_the_lease_ends_and_nothing_when_nobody_came():
    lease, _, _, _ = lent([b'{"op":"ping","n":1}'])
    lease.read_reply(1)
    assert len(lease.lend()) == 1
    assert lease.lend() == []
    assert not lease.is_out


def test_a_lease_that_is_not_out_is_not_read_under():
    connection = FakeConnection([b'{"op":"reply","id":1,"payload":{}}'])
    lease = Lease(lambda reply: pytest.fail(f"{reply}"), lambda _number: True)
    lease.begin(connection, ObjectDecoder(FromServer))
    lease.read_reply(1)
    assert connection.asked == 0


def test_an_interrupt_while_a_caller_reads_ends_the_connection_and_holds_nobody_up():
    """What was read is not known then; it comes again on the next connection."""
    lease, connection, _, _ = lent()
    ended = []

    def interrupt(*, soon):
        assert soon
        raise KeyboardInterrupt

    connection.receive = interrupt
    connection.shutdown = lambda: ended.append(1)
    with pytest.raises(KeyboardInterrupt):
        lease.read_reply(1)
    assert ended == [1]
    assert not lease._reading.locked()
