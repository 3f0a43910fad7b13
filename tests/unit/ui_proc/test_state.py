"""BoardState: a snapshot, then what is newer, each mark once."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.unit.ui_proc.conftest import EIGHT, TODAY
from ui_proc.state import (
    Applied,
    BoardState,
    Counts,
    Mark,
    MessageError,
    Person,
    Snapshot,
    Void,
    read_change,
    read_page,
    read_snapshot,
)

MESSAGE = {
    "type": "attendance",
    "id": "0b7c",
    "markSeq": 4,
    "personId": "12345",
    "timestamp": "2026-03-12T08:00:00.000Z",
    "receivedAt": "2026-03-12T08:00:00.250Z",
    "source": "Gate A",
}


def rows_of(state):
    return [state.rows[index].mark_seq for index in range(len(state.rows))]


def snapshot(seq, marks=(), total=None, today=0):
    return Snapshot(seq=seq, marks=list(marks), total=len(marks) if total is None else total, today=today)


def test_read_mark_takes_the_travelling_form():
    mark = read_change(MESSAGE)
    assert (mark.mark_seq, mark.person_id, mark.source) == (4, "12345", "Gate A")
    assert mark.timestamp == EIGHT
    assert mark.received_at - mark.timestamp == timedelta(milliseconds=250)


def test_a_mark_without_a_source_has_none():
    assert read_change(MESSAGE | {"source": None}).source is None


@pytest.mark.parametrize(
    ("field", "value"),
    [("personId", 5), ("timestamp", "today"), ("timestamp", "2026-03-12T08:00:00"), ("markSeq", "4")],
)
def test_a_mark_that_does_not_fit_is_refused_naming_the_field(field, value):
    with pytest.raises(MessageError, match=field):
        read_change(MESSAGE | {field: value})


def test_a_missing_field_is_named():
    with pytest.raises(MessageError, match="personId"):
        read_change({key: value for key, value in MESSAGE.items() if key != "personId"})


def test_a_snapshot_that_does_not_fit_is_refused_naming_the_field():
    with pytest.raises(MessageError, match="seq"):
        read_snapshot({"type": "snapshot", "seq": "9", "marks": [], "total": 0, "today": 0})


def test_read_snapshot_takes_the_travelling_form():
    read = read_snapshot({"type": "snapshot", "seq": 9, "marks": [MESSAGE], "total": 3, "today": 2})
    assert (read.seq, read.marks[0].id, read.total, read.today) == (9, "0b7c", 3, 2)


def test_an_applied_mark_is_a_row_after_publish(state, make_mark):
    assert state.apply(1, make_mark(1)) is Applied.PENDING
    assert rows_of(state) == []
    assert state.publish() == 1
    assert rows_of(state) == [1]


def test_a_mark_id_is_shown_once(state, make_mark):
    state.apply(1, make_mark(1))
    assert state.apply(2, make_mark(2, id="mark-1")) is Applied.DUPLICATE
    state.publish()
    assert rows_of(state) == [1]
    assert state.counts.total == 1


def test_an_id_whose_row_was_dropped_is_forgotten(make_mark):
    state = BoardState(TODAY, max_rows=2, zone=UTC)
    state.load(snapshot(0))
    for number in (1, 2, 3):
        state.apply(number, make_mark(number))
        state.drop_oldest()
        state.publish()
    assert state.apply(4, make_mark(4, id="mark-1")) is Applied.PENDING


def test_an_id_pushed_out_within_one_batch_is_forgotten(make_mark):
    state = BoardState(TODAY, max_rows=2, zone=UTC)
    state.load(snapshot(0))
    for number in (1, 2, 3):
        state.apply(number, make_mark(number))
    assert state.apply(4, make_mark(4, id="mark-1")) is Applied.PENDING


def test_a_seq_that_is_already_reflected_is_ignored(state, make_mark):
    state.apply(5, make_mark(5))
    assert state.apply(5, make_mark(6)) is Applied.OLD
    assert state.apply(4, make_mark(7)) is Applied.OLD


def test_before_the_snapshot_marks_are_held_back(make_mark):
    state = BoardState(TODAY, zone=UTC)
    assert state.apply(8, make_mark(8)) is Applied.HELD
    assert rows_of(state) == []
    assert state.counts == Counts(0, 0, 0)


def test_of_the_held_marks_only_those_after_the_snapshot_are_applied(make_mark):
    state = BoardState(TODAY, zone=UTC)
    for number in (6, 7, 8):
        state.apply(number, make_mark(number))
    assert state.load(snapshot(7, [make_mark(7), make_mark(6)], total=2, today=2))
    assert rows_of(state) == [8, 7, 6]
    assert state.counts.total == 3
    assert state.newest_seq == 8


# -- voids and names -----------------------------------------------------------------------------------------------


def void(number, reason="twice"):
    return Void(mark_id=f"mark-{number}", reason=reason)


def board_of(make_mark, *numbers, **fields):
    """Return a loaded board with these marks, and its figures as the server would count them."""
    state = BoardState(TODAY, max_rows=50, zone=UTC)
    marks = [make_mark(number) for number in sorted(numbers, reverse=True)]
    state.load(Snapshot(seq=100, marks=marks, total=len(marks), today=len(marks), **fields))
    return state


def test_a_voided_mark_stays_on_the_board_and_does_not_count(make_mark):
    state = board_of(make_mark, 1, 2, 8)  # 1 and 8 are of the same person
    assert state.apply(101, void(1)) is Applied.CHANGED
    assert rows_of(state) == [8, 2, 1]
    assert [state.void_reason(state.rows[index]) for index in range(3)] == [None, None, "twice"]
    assert state.counts == Counts(today=2, people=2, total=2)
    assert state.per_hour[8] == 2
    state.apply(102, void(8))
    assert state.counts == Counts(today=1, people=1, total=1)


def test_a_mark_that_came_voided_does_not_count(make_mark):
    state = BoardState(TODAY, zone=UTC)
    state.load(snapshot(9, [make_mark(2), make_mark(1, void_reason="twice")], total=1, today=1))
    assert state.counts == Counts(today=1, people=1, total=1)
    assert state.void_reason(state.rows[1]) == "twice"


def test_a_void_that_is_pending_or_held_or_repeated_counts_once(make_mark):
    state = BoardState(TODAY, max_rows=50, zone=UTC)
    assert state.apply(2, void(1)) is Applied.HELD
    state.load(snapshot(1, [make_mark(1)], today=1))
    assert state.counts == Counts(0, 0, 0)
    assert state.apply(2, void(1)) is Applied.OLD
    state.apply(3, make_mark(3))
    state.apply(4, void(3))
    assert state.counts == Counts(0, 0, 0)
    state.publish()
    assert state.void_reason(state.rows[0]) == "twice"


def test_a_void_that_a_later_page_has_already_brought_takes_nothing_twice_from_a_person(make_mark):
    state = BoardState(TODAY, zone=UTC)
    state.load(snapshot(9, [make_mark(8), make_mark(1, void_reason="twice")], total=2, today=1))
    state.apply(10, void(1))
    assert state.counts == Counts(today=1, people=1, total=1)


def test_a_void_of_a_mark_that_is_not_on_the_board_changes_the_total_alone(make_mark):
    state = board_of(make_mark, 1)
    state.apply(101, void(77))
    assert state.counts == Counts(today=1, people=1, total=0)


def test_the_figures_of_a_day_with_more_marks_than_rows_are_the_servers(make_mark):
    hours = [0] * 24
    hours[7], hours[8] = 60, 5
    state = board_of(make_mark, 1, people_today=30, per_hour=hours)
    assert (state.counts.people, state.per_hour[7], state.per_hour[8]) == (30, 60, 5)
    state.apply(101, make_mark(2))
    assert (state.counts.people, state.per_hour[8]) == (31, 6)
    state.roll(TODAY + timedelta(days=1))
    assert (state.counts.people, sum(state.per_hour)) == (0, 0)


def test_names_come_with_the_snapshot_and_by_message(make_mark):
    state = board_of(make_mark, people=[Person(person_id="1", name="Ada")])
    assert (state.name_of("1"), state.name_of("2")) == ("Ada", None)
    assert state.apply(101, Person(person_id="2", name="Bob")) is Applied.CHANGED
    assert state.name_of("2") == "Bob"


def test_messages_of_voids_and_people_are_read_and_others_are_not():
    message = {"type": "void", "id": "v", "markId": "m", "markSeq": 1, "personId": "1", "reason": "x", "timestamp": ""}
    assert read_change(message) == Void(mark_id="m", reason="x")
    person = {"type": "person", "personId": "1", "name": "Ada", "group": None}
    assert read_change(person) == Person(person_id="1", name="Ada")
    for other in ({"type": "announcement"}, {"type": ["void"]}, {}):
        assert read_change(other) is None
    with pytest.raises(MessageError, match="markId"):
        read_change({"type": "void", "reason": "x"})


def test_a_snapshot_grows_by_its_pages(make_mark):
    first = Snapshot(seq=9, marks=[make_mark(2)], total=2, today=2, next_before_seq=2, next_after_person="1")
    page = read_page({"type": "marks", "marks": [MESSAGE], "nextBeforeSeq": None})
    second = first.with_page(page)
    assert [mark.mark_seq for mark in second.marks] == [2, 4]
    assert (second.next_before_seq, second.next_after_person) == (None, "1")
    people = read_page({"type": "people", "people": [{"personId": "2", "name": "Bob"}], "nextAfterPerson": None})
    third = second.with_page(people)
    assert (third.people, third.next_after_person) == ([Person(person_id="2", name="Bob")], None)


def test_a_snapshot_of_a_new_epoch_with_lower_seqs_replaces_the_board(state, make_mark):
    state.apply(900, make_mark(900))
    state.publish()
    state.begin_sync()
    state.apply(3, make_mark(3))
    state.load(snapshot(2, [make_mark(2)]))
    assert rows_of(state) == [3, 2]


def test_marks_held_before_a_second_request_are_not_mixed_with_those_after_it(state, make_mark):
    state.begin_sync()
    state.apply(900, make_mark(900))
    state.begin_sync()
    state.load(snapshot(2, [make_mark(2)]))
    assert rows_of(state) == [2]


def test_when_too_many_are_held_the_load_asks_for_another_snapshot(make_mark):
    state = BoardState(TODAY, max_rows=2, zone=UTC)
    for number in (4, 5, 6):
        state.apply(number, make_mark(number))
    assert not state.load(snapshot(3))
    assert state.is_syncing
    assert state.load(snapshot(6, [make_mark(6), make_mark(5)]))


def test_a_held_mark_lost_before_the_snapshot_does_no_harm(make_mark):
    state = BoardState(TODAY, max_rows=2, zone=UTC)
    for number in (4, 5, 6):
        state.apply(number, make_mark(number))
    assert state.load(snapshot(4, [make_mark(4)]))
    assert rows_of(state) == [6, 5]


def test_counts_are_of_the_local_day(make_mark):
    state = BoardState(TODAY, zone=timezone(timedelta(hours=-9)))  # 08:00 UTC is 23:00 of the day before there
    state.load(snapshot(0))
    state.apply(1, make_mark(1))
    state.apply(2, make_mark(2, timestamp=EIGHT + timedelta(hours=3)))
    assert state.counts == Counts(today=1, people=1, total=2)
    assert state.per_hour[2] == 1
    assert sum(state.per_hour) == 1


def test_the_day_is_the_one_it_was_told():
    assert BoardState(TODAY).day == TODAY


def test_people_are_counted_once(state, make_mark):
    for number, person in enumerate(["ana", "bo", "ana"], start=1):
        state.apply(number, make_mark(number, person_id=person))
    assert state.counts == Counts(today=3, people=2, total=3)


def test_the_servers_count_of_the_day_wins_over_the_rows_of_a_snapshot(make_mark):
    state = BoardState(TODAY, zone=UTC)
    state.load(snapshot(9, [make_mark(9)], total=700, today=40))
    assert state.counts == Counts(today=40, people=1, total=700)


def test_a_new_day_starts_from_the_marks_that_are_of_it(state, make_mark):
    state.apply(1, make_mark(1))
    for number in (2, 3):
        state.apply(number, make_mark(number, timestamp=EIGHT + timedelta(days=1, hours=number)))
    assert not state.roll(TODAY)
    assert state.counts == Counts(today=1, people=1, total=3)
    assert state.roll(date(2026, 3, 13))
    assert state.counts == Counts(today=2, people=2, total=3)
    assert [hour for hour, count in enumerate(state.per_hour) if count] == [10, 11]


class Following(RuleBasedStateMachine):
    """A server that appends, a wire that delays, repeats and loses, and a board that must not show it."""

    CAP = 6

    def __init__(self):
        super().__init__()
        self.state = BoardState(TODAY, max_rows=self.CAP, zone=UTC)
        self.log = []
        self.delivered = 0
        self.reply = None
        self.is_asked = True

    @rule(count=st.integers(1, 9))
    def post(self, count):
        for _ in range(count):
            seq = len(self.log) + 1
            moment = datetime(2026, 3, 12, tzinfo=UTC) + timedelta(seconds=seq)
            self.log.append(
                Mark(id=str(seq), mark_seq=seq, person_id=str(seq % 3), timestamp=moment, received_at=moment)
            )

    @rule(count=st.integers(1, 9))
    def deliver(self, count):
        for mark in self.log[self.delivered : self.delivered + count]:
            self.state.apply(mark.mark_seq, mark)
            self.delivered = mark.mark_seq

    @precondition(lambda self: self.delivered > 0)
    @rule(data=st.data())
    def repeat(self, data):
        seq = data.draw(st.integers(1, self.delivered))
        if not self.state.is_syncing:
            assert self.state.apply(seq, self.log[seq - 1]) is Applied.OLD

    @precondition(lambda self: len(self.log) > self.delivered)
    @rule(data=st.data())
    def lose(self, data):
        self.delivered = data.draw(st.integers(self.delivered + 1, len(self.log)))
        self.ask()

    @rule()
    def ask(self):
        self.state.begin_sync()
        self.is_asked, self.reply = True, None

    @precondition(lambda self: self.is_asked and self.reply is None)
    @rule(limit=st.integers(1, 9))
    def answer(self, limit):
        newest = self.log[-limit:][::-1]
        self.reply = Snapshot(seq=len(self.log), marks=newest, total=len(self.log), today=len(self.log))

    @precondition(lambda self: self.reply is not None)
    @rule()
    def load(self):
        self.is_asked = not self.state.load(self.reply)
        self.reply = None

    @rule()
    def publish(self):
        self.state.drop_oldest()
        self.state.publish()

    @invariant()
    def rows_end_without_a_hole_at_the_newest_seq(self):
        everything = [mark.mark_seq for mark in self.state.rows.everything()][-self.CAP :]
        if everything and not self.state.is_syncing:
            newest = self.state.newest_seq
            assert everything == list(range(newest - len(everything) + 1, newest + 1))

    @invariant()
    def rows_are_capped(self):
        assert len(self.state.rows) <= self.CAP

    @invariant()
    def counts_are_what_the_board_reflects(self):
        if not self.state.is_syncing:
            newest = self.state.newest_seq
            assert self.state.counts.total == newest
            assert self.state.counts.today == newest


Following.TestCase.settings = hypothesis_settings(deadline=None, max_examples=60)
TestFollowing = Following.TestCase


def test_a_page_that_does_not_fit_is_refused_naming_the_field():
    with pytest.raises(MessageError, match="nextBeforeSeq"):
        read_page({"type": "marks", "nextBeforeSeq": "two"})
