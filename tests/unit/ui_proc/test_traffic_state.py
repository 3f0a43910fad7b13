"""The traffic list: bounded, both directions, readable."""

from datetime import UTC, datetime

from ui_proc.traffic_state import MAX_BODY_BYTES, Delivery, TrafficState

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)


def one(payload, seq=7):
    state = TrafficState()
    state.received(NOON, payload, seq)
    state.publish()
    return state.rows[0]


def test_a_received_message_keeps_its_type_seq_and_size():
    entry = one({"type": "attendance", "personId": "5"})
    assert (entry.kind, entry.seq, entry.delivery) == ("attendance", 7, Delivery.RECEIVED)
    assert entry.size_bytes == len(b'{"type":"attendance","personId":"5"}')
    assert not entry.is_outgoing


def test_a_sent_message_keeps_what_became_of_it():
    state = TrafficState()
    state.sent(NOON, {"type": "action"}, Delivery.REFUSED)
    state.publish()
    assert state.rows[0].is_outgoing
    assert state.rows[0].delivery.value == "not sent"


def test_the_summary_is_the_json_without_the_type():
    assert one({"type": "note", "text": "door open"}).summary == '"text":"door open"'


def test_the_detail_is_indented_json():
    assert one({"type": "note", "n": 1}).detail == '{\n  "type": "note",\n  "n": 1\n}'


def test_a_large_message_is_kept_in_part_and_says_so():
    entry = one({"type": "note", "text": "x" * 500_000})
    assert len(entry.body) == MAX_BODY_BYTES
    assert "of 500,025 bytes" in entry.detail


def test_a_cut_inside_a_character_is_no_error():
    entry = one({"text": "\N{EURO SIGN}" * MAX_BODY_BYTES})
    assert entry.detail.startswith('{"text":"\N{EURO SIGN}')


def test_a_type_that_is_no_text_is_left_empty():
    assert one({"type": 5}).kind == ""


def test_what_a_pause_pushes_out_is_counted():
    state = TrafficState(max_entries=2)
    for number in range(5):
        state.received(NOON, {"n": number}, number)
    assert (state.rows.pending, state.missed) == (2, 3)
    state.publish()
    assert state.missed == 0


def test_what_a_pause_pushed_out_leaves_the_list_first():
    state = TrafficState(max_entries=2)
    for number in range(2):
        state.received(NOON, {"n": number}, number)
    state.publish()
    state.received(NOON, {"n": 2}, 2)
    state.drop_oldest()
    state.publish()
    assert [entry.seq for entry in (state.rows[0], state.rows[1])] == [2, 1]
