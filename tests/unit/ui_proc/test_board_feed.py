"""BoardFeed: when a snapshot is asked for, and what it is merged with."""

from datetime import UTC

import pytest
from structlog.testing import capture_logs

from ipc import RequestError
from tests.unit.ui_proc.conftest import TODAY
from tests.unit.ui_proc.fake_manager import LIVE, RESUMED, STALE, WAITING
from ui_proc.board_feed import BoardFeed
from ui_proc.board_model import BoardModel
from ui_proc.state import BoardState

pytestmark = pytest.mark.usefixtures("qapp", "feed")


@pytest.fixture
def model():
    return BoardModel(BoardState(TODAY, max_rows=50, zone=UTC), zone=UTC)


@pytest.fixture
def feed(manager, model):
    return BoardFeed(manager, model)


def message(number, **changes):
    stamp = f"2026-03-12T08:00:{number % 60:02d}.000Z"
    fields = {
        "type": "attendance",
        "id": f"mark-{number}",
        "markSeq": number,
        "personId": "5",
        "timestamp": stamp,
        "receivedAt": stamp,
        "source": None,
    }
    return fields | changes


def snapshot(seq, numbers=()):
    marks = [message(number) for number in numbers]
    return {"type": "snapshot", "seq": seq, "marks": marks, "total": len(marks), "today": len(marks)}


def rows(model):
    model.publish()
    return [model.state.rows[index].mark_seq for index in range(model.rowCount())]


def test_a_cold_start_asks_for_a_snapshot(manager):
    manager.enter(LIVE)
    assert [payload for payload, _ in manager.requests] == [{"type": "snapshot", "limit": 50}]


def test_messages_that_overtake_the_snapshot_are_merged(feed, manager, model, qtbot):
    manager.enter(LIVE)
    manager.deliver(7, message(7))
    manager.deliver(8, message(8))
    with capture_logs() as logs, qtbot.waitSignal(feed.loaded):
        manager.answer(snapshot(7, [7, 6]))
    manager.deliver(9, message(9))
    assert rows(model) == [9, 8, 7, 6]
    loaded = [event for event in logs if event["event"] == "snapshot_loaded"]
    assert [(event["rows"], event["seq"], event["log_level"]) for event in loaded] == [(3, 7, "info")]


def test_a_resumed_connection_needs_no_snapshot(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(0))
    manager.enter(RESUMED)
    manager.deliver(1, message(1))
    assert len(manager.requests) == 1
    assert rows(model) == [1]


def test_a_resumed_connection_asks_when_the_first_snapshot_never_came(manager):
    manager.enter(LIVE)
    manager.enter(WAITING)
    manager.answer(RequestError("disconnected", "the connection broke"))
    assert len(manager.requests) == 1
    manager.enter(RESUMED)
    assert len(manager.requests) == 2


def test_a_new_epoch_asks_again(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(90, [90]))
    manager.enter(LIVE)
    manager.deliver(3, message(3))
    assert rows(model) == [90]
    manager.answer(snapshot(2, [2]))
    assert rows(model) == [3, 2]


def test_the_end_of_a_silence_is_no_new_epoch(manager):
    manager.enter(LIVE)
    manager.answer(snapshot(0))
    manager.enter(STALE)
    manager.enter(LIVE)
    assert len(manager.requests) == 1


def test_a_gap_asks_again_and_an_older_answer_is_ignored(manager, model):
    manager.enter(LIVE)
    with capture_logs() as logs:
        manager.gap_received.emit((3, 40))
    assert [(event["from_seq"], event["to_seq"]) for event in logs] == [(3, 40)]
    manager.deliver(41, message(41))
    manager.answer(snapshot(2, [2]), number=0)
    assert rows(model) == []
    manager.answer(snapshot(40, [40, 39]), number=1)
    assert rows(model) == [41, 40, 39]


def test_a_snapshot_that_came_too_late_is_asked_for_again(manager, model):
    manager.enter(LIVE)
    for number in range(1, 60):
        manager.deliver(number, message(number))
    manager.answer(snapshot(2, [2, 1]))
    assert len(manager.requests) == 2
    manager.answer(snapshot(59, [59, 58]))
    assert rows(model) == [59, 58]


def test_a_failed_snapshot_is_asked_for_again_after_a_pause(feed, manager, qtbot):
    manager.enter(LIVE)
    feed._retry_timer.setInterval(1)
    with capture_logs() as logs:
        manager.answer(RequestError("handler_failed", "database is locked"))
    assert [(event["event"], event["code"]) for event in logs] == [("snapshot_failed", "handler_failed")]
    assert len(manager.requests) == 1
    qtbot.waitUntil(lambda: len(manager.requests) == 2)
    assert feed._retry_timer.interval() == 2


def test_a_malformed_snapshot_is_told_and_asked_for_again(feed, manager, qtbot):
    manager.enter(LIVE)
    feed._retry_timer.setInterval(1)
    with capture_logs() as logs:
        manager.answer({"type": "snapshot", "seq": "x"})
    assert "seq" in logs[0]["reason"]
    qtbot.waitUntil(lambda: len(manager.requests) == 2)


def test_a_malformed_mark_is_told_and_the_others_are_shown(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(0))
    with capture_logs() as logs:
        manager.deliver(1, message(1, personId=None))
    manager.deliver(2, message(2))
    assert [(event["event"], event["seq"]) for event in logs] == [("mark_ignored", 1)]
    assert "personId" in logs[0]["reason"]
    assert rows(model) == [2]


def test_other_messages_are_not_the_boards_business(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(0))
    with capture_logs() as logs:
        manager.deliver(1, {"type": "announcement", "text": "hello"})
    assert (rows(model), logs) == ([], [])


@pytest.mark.usefixtures("feed")
def test_the_id_of_the_request_behind_a_mark_is_in_the_log(manager):
    manager.enter(LIVE)
    with capture_logs() as logs:
        manager.deliver(7, message(7, requestId="reader-7:42"))
    (line,) = [line for line in logs if line["event"] == "mark_received"]
    assert (line["log_level"], line["seq"], line["request_id"]) == ("debug", 7, "reader-7:42")


def test_what_did_not_fit_into_the_snapshot_is_asked_for_by_pages(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(9, [9, 8]) | {"nextBeforeSeq": 8, "nextAfterPerson": "a"})
    assert manager.requests[-1][0] == {"type": "marks", "beforeSeq": 8, "limit": 48}
    manager.deliver(10, message(10))
    assert rows(model) == []
    manager.answer({"type": "marks", "marks": [message(7)], "nextBeforeSeq": None})
    assert manager.requests[-1][0] == {"type": "people", "afterPerson": "a"}
    manager.answer({"type": "people", "people": [{"personId": "5", "name": "Ada"}], "nextAfterPerson": None})
    assert rows(model) == [10, 9, 8, 7]
    assert model.state.name_of("5") == "Ada"


def test_no_more_pages_than_rows_are_asked_for(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(99, range(99, 49, -1)) | {"nextBeforeSeq": 50})
    assert len(manager.requests) == 1
    assert len(rows(model)) == 50


@pytest.mark.parametrize("answer", [RequestError("timeout", "no reply"), {"type": "marks", "marks": "x"}])
def test_a_page_that_fails_begins_the_snapshot_anew(feed, manager, qtbot, answer):
    manager.enter(LIVE)
    feed._retry_timer.setInterval(1)
    manager.answer(snapshot(9, [9]) | {"nextBeforeSeq": 9})
    with capture_logs() as logs:
        manager.answer(answer)
    assert [event["event"] for event in logs] == ["snapshot_failed"]
    qtbot.waitUntil(lambda: len(manager.requests) == 3)
    assert manager.requests[-1][0]["type"] == "snapshot"


def test_a_page_of_an_older_snapshot_is_ignored(manager, model):
    manager.enter(LIVE)
    manager.answer(snapshot(9, [9]) | {"nextBeforeSeq": 9})
    manager.gap_received.emit((10, 40))
    manager.answer({"type": "marks", "marks": [message(8)]}, number=1)
    assert model.state.is_syncing


def test_voids_and_names_reach_the_board(manager, model, qtbot):
    manager.enter(LIVE)
    manager.answer(snapshot(9, [9]))
    with qtbot.waitSignal(model.altered):
        manager.deliver(10, {"type": "void", "markId": "mark-9", "reason": "twice"})
    with qtbot.waitSignal(model.altered):
        manager.deliver(11, {"type": "person", "personId": "5", "name": "Ada"})
    assert model.state.void_reason(model.state.rows[0]) == "twice"
    assert model.state.name_of("5") == "Ada"
