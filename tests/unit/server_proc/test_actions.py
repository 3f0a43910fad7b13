"""What a ui may ask or tell."""

import pytest
from structlog.testing import capture_logs

from ipc.errors import RequestError
from server_proc import actions
from server_proc.actions import action_logger, answer_snapshot
from server_proc.marks import NewMark, mark_message

NOW_MS = 1_769_846_400_500
DAY_MS = 24 * 60 * 60 * 1000


def record(services, count, **fields):
    return [services.store.record(NewMark(person_id=str(n), **fields), NOW_MS)[0] for n in range(count)]


def test_the_snapshot_has_the_newest_marks_first_the_counts_and_its_seq(services):
    record(services, 2, timestamp_ms=NOW_MS - 2 * DAY_MS)
    marks = record(services, 3)
    answer = answer_snapshot(services, {"type": "snapshot", "limit": 2})
    assert answer == {
        "type": "snapshot",
        "seq": 5,
        "marks": [mark_message(marks[2]), mark_message(marks[1])],
        "total": 5,
        "today": 3,
    }


def test_a_snapshot_of_nothing(services):
    expected = {"type": "snapshot", "seq": 0, "marks": [], "total": 0, "today": 0}
    assert answer_snapshot(services, {"type": "snapshot"}) == expected


@pytest.mark.parametrize("limit", [-1, "10", 1.5, None, True, []])
def test_a_wrong_limit_is_an_error_that_names_it(services, limit):
    with pytest.raises(RequestError, match="limit") as caught:
        answer_snapshot(services, {"type": "snapshot", "limit": limit})
    assert caught.value.code == "wrong_field"


def test_a_snapshot_has_as_many_of_the_newest_as_fit_into_a_frame(services, monkeypatch):
    monkeypatch.setattr(actions, "MAX_SNAPSHOT_BYTES", 1000)
    record(services, 20)
    answer = answer_snapshot(services, {"type": "snapshot", "limit": 10**9})
    seqs = [mark["markSeq"] for mark in answer["marks"]]
    assert 3 < len(seqs) < 10
    assert seqs == list(range(20, 20 - len(seqs), -1))
    assert answer["total"] == 20


def test_a_message_of_the_ui_is_logged_without_its_text():
    with capture_logs() as logs:
        action_logger(False)({"type": "action", "action": "note", "text": "something private"})
    assert logs == [{"event": "action_received", "log_level": "info", "type": "action", "action": "note"}]


def test_its_text_is_logged_when_asked_for():
    payload = {"type": "action", "action": "note", "text": "something private"}
    with capture_logs() as logs:
        action_logger(True)(payload)
    assert logs[0]["payload"] == payload


@pytest.mark.parametrize("label", [None, 5, {"text": "private"}, "private" * 100])
def test_a_label_that_is_none_is_not_logged(label):
    with capture_logs() as logs:
        action_logger(False)({"type": label, "action": label})
    assert (logs[0]["type"], logs[0]["action"]) == (None, None)
