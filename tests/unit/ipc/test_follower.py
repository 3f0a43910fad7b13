"""The resume protocol without sockets: a follower, a log, and connections that break anywhere."""

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ipc.client_state import ClientState
from ipc.follower import Follower
from ipc.limits import Limits
from ipc.message_log import MemoryLog, starting_point
from ipc.protocol import PROTOCOL_VERSION, FromServer, Gap, Message, ObjectDecoder, Resume, Welcome
from ipc.sequence import Lapped


def welcome(epoch="e", seq=0, *, resumed=False):
    return Welcome(
        protocol=PROTOCOL_VERSION,
        epoch=epoch,
        seq=seq,
        oldest=1,
        resumed=resumed,
        heartbeat_s=5.0,
        max_frame_bytes=1 << 20,
        last_id=0,
    )


def test_a_newcomer_follows_from_now_on():
    follower = Follower()
    assert follower.resume() is None
    follower.begin(welcome(seq=7))
    assert follower.resume() == Resume("e", 7)
    assert not follower.is_new(7)
    assert follower.is_new(8)
    assert follower.admit(8) is None


def test_a_resumed_follower_goes_on_where_it_was():
    follower = Follower()
    follower.begin(welcome(seq=7))
    follower.admit(8)
    follower.begin(welcome(seq=20, resumed=True))
    assert follower.resume() == Resume("e", 8)


def test_a_new_epoch_is_followed_from_its_start():
    follower = Follower()
    follower.begin(welcome(seq=7))
    follower.begin(welcome("later", seq=3))
    assert follower.resume() == Resume("later", 0)
    assert follower.admit(1) is None


def test_the_same_epoch_that_has_lost_its_end_is_followed_from_its_start():
    follower = Follower()
    follower.begin(welcome(seq=7))
    follower.begin(welcome(seq=3, resumed=False))
    assert follower.resume() == Resume("e", 0)


def test_an_unannounced_gap_is_found():
    follower = Follower()
    follower.begin(welcome(seq=0))
    assert follower.admit(1) is None
    assert follower.admit(5) == (2, 4)
    assert follower.admit(6) is None


def test_an_announced_gap_is_skipped():
    follower = Follower()
    follower.begin(welcome(seq=0))
    follower.skip(4)
    assert follower.admit(5) is None
    follower.skip(3)  # nothing goes back
    assert follower.last_seq == 5


def said(*seqs):
    return [Message(seq, 0.0, {}) for seq in seqs]


BREAK = ClientState(kind="live", resumed=False)


def followed_to(seq):
    follower = Follower()
    follower.begin(welcome(seq=seq))
    return follower


def test_what_was_not_handled_is_wanted_again():
    follower = followed_to(5)
    follower.rewind(said(4, 5))
    assert follower.resume() == Resume("e", 3)
    assert follower.admit(4) is None
    follower.rewind(said(9))  # nothing goes forward
    assert follower.last_seq == 4
    follower.rewind([])
    follower.rewind(said(0))  # it had no place in the log
    assert follower.last_seq == 4


def test_a_gap_that_was_not_told_is_wanted_again():
    follower = followed_to(20)
    follower.rewind([Gap(3, 15), *said(16, 17)])
    assert follower.last_seq == 2


def test_of_two_epochs_the_later_is_wanted_again():
    follower = followed_to(2)
    follower.rewind([*said(8, 9), BREAK, *said(1, 2)])
    assert follower.last_seq == 0


def test_a_break_that_was_not_told_is_told_with_the_next_welcome_and_not_again():
    follower = followed_to(2)
    follower.rewind([ClientState(kind="connecting"), BREAK])
    assert not follower.begin(welcome(seq=2, resumed=True))
    assert follower.begin(welcome(seq=2, resumed=True))


def test_a_resumption_that_was_not_told_is_no_break():
    follower = followed_to(2)
    follower.rewind([ClientState(kind="live", resumed=True)])
    assert follower.begin(welcome(seq=2, resumed=True))
    assert not follower.begin(welcome("later", seq=2))


class Following(RuleBasedStateMachine):
    """A server with a small log speaks to one follower over connections that lose what is on its way.

    `seen` is what the follower has admitted and `gaps` what it was told is lost: together they are everything that was
    said since it came, each seq once and in order.
    """

    def __init__(self):
        super().__init__()
        self.follower = Follower()
        self.epochs = 0
        self.log = self._new_log()
        self.wire = None
        self.cursor = 0
        self.first_seq = 1
        self.seen = []

    def _new_log(self):
        self.epochs += 1
        return MemoryLog(Limits(log_messages=5), epoch=f"epoch {self.epochs}")

    @rule(count=st.integers(1, 8))
    def say(self, count):
        for _ in range(count):
            self.log.append({})

    @rule()
    def restart(self):
        self.wire = None
        self.log = self._new_log()

    @rule()
    def cut(self):
        self.wire = None

    @precondition(lambda self: self.wire is None)
    @rule()
    def connect(self):
        is_first = self.follower.epoch is None
        is_elsewhere = self.follower.epoch not in (None, self.log.epoch)
        self.cursor, resumed = starting_point(self.log, self.follower.resume())
        self.follower.begin(welcome(self.log.epoch, self.log.newest, resumed=resumed))
        assert resumed == (not is_first and not is_elsewhere)
        if is_first:
            self.first_seq = self.log.newest + 1
        if is_elsewhere:
            self.first_seq = 1
            self.seen = []
        self.wire = []

    @precondition(lambda self: self.wire is not None)
    @rule(max_bytes=st.integers(1, 300))
    def send(self, max_bytes):
        try:
            encoded, last = self.log.read(self.cursor, max_bytes)
        except Lapped:
            self.wire.append((self.cursor + 1, self.log.oldest - 1))
            self.cursor = self.log.oldest - 1
            return
        self.wire += [message.seq for message in ObjectDecoder(FromServer).decode(encoded or b"\n")]
        self.cursor = last

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def arrive(self, data):
        count = data.draw(st.integers(1, len(self.wire)))
        for what in self.wire[:count]:
            if isinstance(what, tuple):
                first, last = what
                assert first == self.follower.last_seq + 1
                self.follower.skip(last)
                self.seen += range(first, last + 1)
            else:
                assert self.follower.is_new(what)
                assert self.follower.admit(what) is None
                self.seen.append(what)
        del self.wire[:count]

    @invariant()
    def is_exact(self):
        assert self.seen == list(range(self.first_seq, self.first_seq + len(self.seen)))
        if self.seen:
            assert self.follower.last_seq == self.seen[-1]


TestFollowing = Following.TestCase


def test_messages_that_were_perhaps_not_told_are_wanted_again():
    follower = Follower()
    follower.last_seq = 9
    follower.want_again([Message(0, 1.0, {}), Message(7, 1.0, {}), Message(9, 1.0, {})])
    assert follower.last_seq == 6
    follower.want_again([Message(0, 1.0, {})])
    assert follower.last_seq == 6
