"""The outbox: ids are dense and never used twice, whatever is acknowledged or refused in between."""

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ipc.outbox import Outbox
from ipc.protocol import ClientMessage, FromClient, ObjectDecoder, Request

MAX_MESSAGES = 8
MAX_BYTES = 600


class OutboxMachine(RuleBasedStateMachine):
    """The model keeps every accepted object by its id."""

    def __init__(self):
        super().__init__()
        self.outbox = Outbox(MAX_MESSAGES, MAX_BYTES)
        self.accepted = []
        self.acknowledged = 0

    @rule(size=st.integers(0, 300), op=st.sampled_from([b"message", b"request"]))
    def push(self, size, op):
        expected_id = self.outbox.next_id
        assert expected_id == len(self.accepted) + 1
        encoded = b'{"text":"%b"}' % (b"x" * size)
        was_full = len(self.outbox) >= MAX_MESSAGES
        number = self.outbox.put(op, encoded)
        if number is None:
            assert was_full or self._kept_bytes() + len(encoded) > MAX_BYTES
            return
        assert not was_full
        assert number == expected_id
        kind = ClientMessage if op == b"message" else Request
        self.accepted.append(kind(number, {"text": "x" * size}))

    @rule(last_id=st.integers(0, 30))
    def acknowledge(self, last_id):
        self.outbox.acknowledge(last_id)
        self.acknowledged = max(self.acknowledged, min(last_id, len(self.accepted)))

    @rule(data=st.data(), max_bytes=st.integers(1, 400))
    def read(self, data, max_bytes):
        after = data.draw(st.integers(0, len(self.accepted)))
        encoded, last = self.outbox.read(after, max_bytes)
        first = max(after, self.acknowledged)
        assert ObjectDecoder(FromClient).decode(encoded or b"\n") == self.accepted[first:last]
        assert last > first or first == len(self.accepted)

    @invariant()
    def keeps_what_is_not_acknowledged(self):
        assert len(self.outbox) == len(self.accepted) - self.acknowledged
        assert self.outbox.oldest == self.acknowledged + 1

    def _kept_bytes(self):
        encoded, _ = self.outbox.read(self.acknowledged, 1 << 30)
        return len(encoded)


TestOutbox = OutboxMachine.TestCase


def test_an_acknowledged_message_makes_room():
    outbox = Outbox(1, 1000)
    assert outbox.put(b"message", b"{}") == 1
    assert outbox.put(b"message", b"{}") is None
    outbox.acknowledge(1)
    assert outbox.put(b"message", b"{}") == 2


@pytest.mark.parametrize("max_bytes", [1, 100])
def test_the_bytes_are_bounded_too(max_bytes):
    outbox = Outbox(100, max_bytes)
    assert outbox.put(b"message", b"x" * (max_bytes + 1)) is None
    assert len(outbox) == 0
