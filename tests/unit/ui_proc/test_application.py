"""The wiring: what arrives is shown, what is entered is sent, and the loop ends when told."""

import threading
from pathlib import Path

import pytest
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QMessageBox
from structlog.testing import capture_logs

from ipc import PayloadError, RequestError
from tests.unit.ui_proc.fake_context import FakeContext
from tests.unit.ui_proc.fake_manager import LIVE, WAITING, FakeManager
from ui_proc import application
from ui_proc.connection_text import Tone

MARK = {
    "type": "attendance",
    "id": "mark-1",
    "markSeq": 1,
    "personId": "12345",
    "timestamp": "2026-03-12T08:00:00.000Z",
    "receivedAt": "2026-03-12T08:00:00.000Z",
    "source": None,
}
EMPTY = {"type": "snapshot", "seq": 0, "marks": [], "total": 0, "today": 0}
CHILDREN = {
    "children": [{"name": "server", "state": "BACKOFF", "pid": None, "restarts": 1, "uptime_s": None, "attempt": 2}],
}


pytestmark = pytest.mark.usefixtures("loop_guard")


@pytest.fixture
def context(tmp_path):
    return FakeContext(tmp_path)


@pytest.fixture
def app(qapp, qtbot, context, monkeypatch):
    monkeypatch.setattr(application, "SocketManager", FakeManager)
    qapp.setQuitOnLastWindowClosed(False)
    app = application.Application(context, qapp)
    qtbot.addWidget(app.window)
    yield app
    qapp.setStyleSheet("")


def enter_line(app, qtbot, text):
    qtbot.keyClicks(app.pages.messages.line, text)
    qtbot.keyClick(app.pages.messages.line, Qt.Key.Key_Return)
    app.messages.publish()


def test_both_planes_are_addressed_with_the_key(app, context):
    assert (app.manager.address, app.control.address) == (context.settings.socket, context.settings.control_socket)
    assert {app.manager.authkey, app.control.authkey} == {context.authkey}
    assert not app.manager.log_payloads


def test_a_mark_reaches_the_board_and_the_messages(app, qtbot):
    app.manager.enter(LIVE)
    app.manager.answer(EMPTY)
    with capture_logs() as logs, qtbot.waitSignal(app.board.published):
        app.manager.deliver(1, MARK)
    app.messages.publish()
    assert (app.board.rowCount(), app.messages.rowCount()) == (1, 1)
    shown = [event for event in logs if event["event"] == "marks_shown"]
    assert shown == [{"event": "marks_shown", "log_level": "debug", "added": 1, "rows": 1, "newest_seq": 1}]


def test_the_pill_follows_the_connection(app, qtbot):
    pill = app.window.pill
    app.manager.enter(LIVE)
    qtbot.waitUntil(lambda: pill.pill.detail == "loading the board")
    app.manager.answer(EMPTY)
    assert (pill.pill.tone, pill.pill.detail) == (Tone.GOOD, "no new message yet")
    app.manager.enter(WAITING)
    qtbot.waitUntil(lambda: pill.pill.title == "Reconnecting")
    assert pill.pill.detail.startswith("attempt 4 in")
    app.manager.enter(LIVE)
    qtbot.waitUntil(lambda: pill.pill.detail == "loading the board")


def test_a_server_that_is_back_at_once_has_changed_nothing_on_the_screen(app, qtbot):
    app.manager.enter(LIVE)
    qtbot.waitUntil(lambda: app.window.pill.pill.detail == "loading the board")
    shown = []
    app.window.pill.show_pill = shown.append

    app.manager.enter(WAITING)
    app.manager.enter(LIVE)
    qtbot.waitUntil(lambda: bool(shown))

    assert [pill.title for pill in shown] == [app.window.pill.pill.title]


def test_the_pill_says_what_the_launcher_knows_and_forgets_it_with_the_launcher(app, qtbot):
    app.manager.enter(WAITING)
    app.control.enter(LIVE)
    app.control.answer(CHILDREN)
    qtbot.waitUntil(lambda: app.window.pill.pill.title == "Server restarting, attempt 2")
    assert app.pages.processes.cards[0].name == "server"
    app.control.enter(WAITING)
    assert app.window.pill.pill.title == "Connecting"
    assert "waiting" in app.pages.processes.empty.text


def test_a_report_that_was_not_shown_yet_is_forgotten_with_the_launcher(app, qtbot):
    app.control.enter(LIVE)
    app.control.answer(CHILDREN)
    app.control.enter(WAITING)
    qtbot.waitUntil(lambda: not app._soon.isActive())
    assert "waiting" in app.pages.processes.empty.text
    assert app.pages.processes.cards == []


@pytest.mark.parametrize(("state", "delivery"), [(LIVE, "sent"), (WAITING, "queued")])
def test_a_line_is_sent_and_listed_with_its_delivery(app, qtbot, state, delivery):
    app.manager.enter(state)
    enter_line(app, qtbot, "gate open")
    assert app.manager.sent == [{"type": "action", "action": "note", "text": "gate open"}]
    assert app.messages.data(app.messages.index(0, 3)) == delivery
    assert app.pages.messages.line.text() == ""


def test_a_line_that_is_not_accepted_is_an_error_and_stays(app, qtbot):
    app.manager.accepts = False
    enter_line(app, qtbot, "gate open")
    assert app.messages.data(app.messages.index(0, 3)) == "not sent"
    assert "full" in app.pages.messages.problem.text()
    assert app.pages.messages.line.text() == "gate open"


def test_a_line_that_cannot_travel_is_an_error_and_stays(app, qtbot, monkeypatch):
    def refuse(_payload):
        raise PayloadError("text: a lone surrogate")

    monkeypatch.setattr(app.manager, "send_message", refuse)
    enter_line(app, qtbot, "gate open")
    assert "a lone surrogate" in app.pages.messages.problem.text()
    assert app.pages.messages.line.text() == "gate open"


def test_the_gui_thread_beats_on_its_own_timer(app, context):
    assert app._pulse.interval() <= 500, "half a second, as the server does"
    before = context.heartbeats
    app._pulse.timeout.emit()
    assert context.heartbeats == before + 1


def test_it_is_ready_when_painted_and_stops_from_another_thread(app, context):
    said = []

    def when_ready():
        said.append(app.manager.is_started and app.control.is_started and app.window.isVisible())
        threading.Thread(target=context.stop).start()

    context._when_ready = when_ready
    assert app.run() == 0
    assert said == [True]
    assert context.readies == 1
    assert (app.manager.is_started, app.control.is_started, app.window.isVisible()) == (False, False, False)


def test_a_stop_before_the_loop_ends_it_at_once(app, context, monkeypatch):
    monkeypatch.setattr(context, "on_stop", lambda callback: callback())
    assert app.run() == 0


def test_the_user_closing_the_window_ends_it_with_0_and_keeps_the_settings(app, context):
    context._when_ready = lambda: QTimer.singleShot(0, app.window.close)
    assert app.run() == 0
    assert (Path(context.settings.state_dir) / "ui.ini").exists()


def test_a_machine_without_fonts_is_told_how_to_get_them(app, context, monkeypatch):
    monkeypatch.setattr(application.QFontDatabase, "families", list)
    context._when_ready = lambda: context.stop()
    with capture_logs() as logs:
        app.run()
    assert [event["remedy"] for event in logs if event["event"] == "fonts_missing"] == [
        "apt-get install -y fonts-dejavu-core"
    ]


@pytest.mark.parametrize("is_accepted", [True, False])
def test_what_the_operator_enters_in_a_dialog_is_asked_of_the_server(app, monkeypatch, is_accepted):
    monkeypatch.setattr(
        "ui_proc.board_actions.QInputDialog.getText", lambda *_arguments, **_options: (" 777 ", is_accepted)
    )
    app.pages.board.mark_button.click()
    asked = [payload["personId"] for payload, _ in app.manager.requests if payload["type"] == "mark"]
    assert asked == (["777"] if is_accepted else [])


def test_a_void_and_another_name_are_asked_of_the_server_and_a_refusal_is_shown(app, monkeypatch, qtbot):
    monkeypatch.setattr("ui_proc.board_actions.QInputDialog.getText", lambda *_arguments, **_options: ("text", True))
    app.manager.enter(LIVE)
    app.manager.answer(EMPTY | {"seq": 1, "marks": [MARK], "total": 1})
    mark = app.board.state.rows[0]
    for action in app.pages.board.menu_for(mark).actions():
        action.trigger()
    void, rename = (payload for payload, _ in app.manager.requests[-2:])
    assert (void["markId"], void["reason"]) == ("mark-1", "text")
    assert (rename["personId"], rename["name"]) == ("12345", "text")
    app.window.show()
    app.manager.answer(RequestError("already_voided", "it was voided before"), number=-2)
    box = app.window.findChild(QMessageBox)
    assert box.text() == "it was voided before"
    with qtbot.waitSignal(box.destroyed):
        box.close()
