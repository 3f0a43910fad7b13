"""The Messages tab: selection, pause, filter, and the line to the server."""

from datetime import UTC, datetime

import pytest
from PySide6.QtCore import Qt

from ui_proc.messages_model import MessagesModel
from ui_proc.messages_view import MessagesView
from ui_proc.traffic_state import Delivery, TrafficState

NOON = datetime(2026, 3, 12, 12, 0, tzinfo=UTC)


@pytest.fixture
def model():
    return MessagesModel(TrafficState())


@pytest.fixture
def view(qtbot, model, theme):
    view = MessagesView(model, theme)
    qtbot.addWidget(view)
    view.resize(1000, 600)
    with qtbot.waitExposed(view):
        view.show()
    return view


def test_the_selected_message_is_shown_as_indented_json(view, model):
    model.received(NOON, {"type": "note", "text": "one"}, 1)
    model.received(NOON, {"type": "note", "text": "two"}, 2)
    model.publish()
    view.table.selectRow(1)
    assert '  "text": "one"' in view.detail.toPlainText()


def test_the_selection_stays_with_its_message_when_others_arrive(view, model):
    model.received(NOON, {"type": "note", "text": "one"}, 1)
    model.publish()
    view.table.selectRow(0)
    model.received(NOON, {"type": "note", "text": "two"}, 2)
    model.publish()
    assert [index.row() for index in view.table.selectionModel().selectedRows()] == [1]
    assert '"one"' in view.detail.toPlainText()


def test_a_pause_holds_the_list_and_says_how_many_wait(view, model, qtbot):
    qtbot.mouseClick(view.pause, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(model.waiting_changed):
        model.received(NOON, {"type": "note"}, 1)
    assert view.pause.text() == "Paused, 1 new"
    assert model.rowCount() == 0
    qtbot.mouseClick(view.pause, Qt.MouseButton.LeftButton)
    assert (view.pause.text(), model.rowCount()) == ("Pause", 1)


def test_the_filter_narrows_by_content(view, model, qtbot):
    for text in ("door", "window"):
        model.received(NOON, {"type": "note", "text": text}, 1)
    model.publish()
    qtbot.keyClicks(view.filter, "WIN")
    assert view.table.proxy.rowCount() == 1


@pytest.mark.parametrize("way", ["return", "button"])
def test_a_line_is_handed_out_trimmed(view, qtbot, way):
    qtbot.keyClicks(view.line, "  gate open ")
    with qtbot.waitSignal(view.line_entered) as blocker:
        if way == "return":
            qtbot.keyClick(view.line, Qt.Key.Key_Return)
        else:
            qtbot.mouseClick(view.send, Qt.MouseButton.LeftButton)
    assert blocker.args == ["gate open"]


def test_an_empty_line_is_not_sent(view, qtbot):
    qtbot.keyClicks(view.line, "   ")
    assert not view.send.isEnabled()
    with qtbot.assertNotEmitted(view.line_entered):
        qtbot.keyClick(view.line, Qt.Key.Key_Return)


def test_an_accepted_line_makes_room_for_the_next(view, qtbot):
    view.line_refused("before.")
    qtbot.keyClicks(view.line, "gate open")
    view.line_accepted()
    assert view.line.text() == ""
    assert not view.problem.isVisible()


def test_a_refused_line_is_kept_and_the_reason_shown(view, qtbot):
    qtbot.keyClicks(view.line, "gate open")
    view.line_refused("the outbox is full.")
    assert view.line.text() == "gate open"
    assert view.problem.isVisible()
    assert "the outbox is full" in view.problem.text()


def test_every_delivery_can_be_painted(view, model):
    for delivery in Delivery:
        model.sent(NOON, {"type": "action"}, delivery)
    model.publish()
    view.table.selectRow(0)
    assert not view.table.grab().toImage().isNull()
