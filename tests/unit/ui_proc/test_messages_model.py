"""MessagesModel: cells and the pause."""

from datetime import UTC, datetime

import pytest
from PySide6.QtCore import QModelIndex, Qt

from ui_proc.batched_model import FILTER_ROLE, ROW_ROLE
from ui_proc.messages_model import MessagesModel
from ui_proc.traffic_state import Delivery, TrafficState

pytestmark = pytest.mark.usefixtures("qapp")

NOON = datetime(2026, 3, 12, 12, 0, 0, 250_000, tzinfo=UTC)


@pytest.fixture
def model():
    return MessagesModel(TrafficState(max_entries=10))


def cells(model, row):
    return [model.data(model.index(row, column), Qt.ItemDataRole.DisplayRole) for column in range(4)]


def test_a_received_message_shows_time_type_content_and_seq(model, qtmodeltester):
    model.received(NOON, {"type": "note", "text": "x"}, 12)
    model.publish()
    assert cells(model, 0) == ["12:00:00.250", "\N{DOWNWARDS ARROW} note", '"text":"x"', "seq 12"]
    qtmodeltester.check(model)


def test_a_message_outside_the_log_has_no_seq(model):
    model.received(NOON, {"type": "note"}, 0)
    model.publish()
    assert cells(model, 0)[3] == ""


def test_a_sent_message_shows_its_delivery(model):
    model.sent(NOON, {"type": "action"}, Delivery.QUEUED)
    model.publish()
    assert cells(model, 0)[1::2] == ["\N{UPWARDS ARROW} action", "queued"]


def test_a_message_without_a_type_says_so(model):
    model.received(NOON, {"x": 1}, 1)
    model.publish()
    assert cells(model, 0)[1] == "\N{DOWNWARDS ARROW} ?"


def test_the_filter_looks_at_type_and_content(model):
    model.received(NOON, {"type": "note", "text": "door"}, 1)
    model.publish()
    assert "door" in model.data(model.index(0, 0), FILTER_ROLE)
    assert model.data(model.index(0, 0), FILTER_ROLE).startswith("note\n")
    assert model.data(model.index(0, 0), ROW_ROLE).kind == "note"
    assert model.data(QModelIndex(), ROW_ROLE) is None


def test_a_paused_list_stands_still_and_counts(model, qtbot):
    model.set_paused(True)
    with qtbot.waitSignal(model.waiting_changed) as blocker:
        for number in range(12):
            model.received(NOON, {"n": number}, number)
    assert blocker.args == [12]
    assert model.rowCount() == 0
    model.set_paused(False)
    assert model.rowCount() == 10
    assert cells(model, 0)[2] == '"n":11'
