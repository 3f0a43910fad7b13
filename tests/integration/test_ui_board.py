"""The window over a real SocketServer: rows, bursts, restarts, and a line to the server."""

import os
import threading
from datetime import UTC, datetime, timedelta

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import Qt
from structlog.testing import capture_logs

from ipc import ChildSettings, SocketServer
from ui_proc import application

KEY = b"k" * 32
START = datetime(2026, 3, 12, 8, 0, tzinfo=UTC)
DEADLINE_MS = 20_000


def message(number):
    stamp = (START + timedelta(seconds=number)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "type": "attendance",
        "id": f"mark-{number}",
        "markSeq": number,
        "personId": f"{number % 50:05d}",
        "timestamp": stamp,
        "receivedAt": stamp,
        "source": "Gate A",
    }


class Store:
    """What outlives a server: the marks. `serve` starts a server over them."""

    def __init__(self, address):
        self.address = address
        self.marks = []
        self.actions = []
        self.acted = threading.Event()
        self.snapshots = 0
        self._lock = threading.Lock()
        self.server = None

    def serve(self):
        self.server = SocketServer(self.address, authkey=KEY)
        self.server.on_request("snapshot")(self._snapshot)
        self.server.add_message_handler(self._act)
        self.server.start()

    def stop(self):
        if self.server is not None:
            self.server.stop()

    def post(self, *numbers):
        for number in numbers:
            with self._lock:
                self.marks.append(message(number))
                self.server.broadcast(self.marks[-1])

    def _snapshot(self, payload):
        with self._lock:
            self.snapshots += 1
            newest = self.marks[-min(payload["limit"], 500) :][::-1]
            seq, total = self.server.stats["newest"], len(self.marks)
        return {"type": "snapshot", "seq": seq, "marks": newest, "total": total, "today": 0}

    def _act(self, payload):
        self.actions.append(payload)
        self.acted.set()


class Context:
    authkey = KEY
    listener = None
    http_socket = None

    def __init__(self, tmp_path):
        self.settings = ChildSettings(
            name="ui",
            run_id="run-1",
            socket=str(tmp_path / "axon.sock"),
            control_socket=str(tmp_path / "axon-control.sock"),
            url="http://127.0.0.1:1340",
            state_dir=str(tmp_path),
            offscreen=True,
        )

    def ready(self):
        pass

    def heartbeat(self):
        pass

    def on_stop(self, callback):
        pass


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path / "axon.sock"))
    yield store
    store.stop()


@pytest.fixture
def app(qapp, qtbot, tmp_path):
    app = application.Application(Context(tmp_path), qapp)
    qtbot.addWidget(app.window)
    app.window.show()
    app.manager.start()
    yield app
    app.manager.stop()
    app.control.stop()
    qapp.setStyleSheet("")


def shown(app):
    return [app.board.state.rows[index].mark_seq for index in range(app.board.rowCount())]


def wait_for_rows(app, qtbot, numbers):
    qtbot.waitUntil(lambda: shown(app) == list(numbers), timeout=DEADLINE_MS)


def wait_for_snapshot(app, qtbot):
    qtbot.waitUntil(lambda: not app.board.state.is_syncing, timeout=DEADLINE_MS)


def test_what_was_posted_before_and_after_the_ui_came_is_on_the_board(app, store, qtbot):
    store.serve()
    store.post(1, 2)
    wait_for_rows(app, qtbot, [2, 1])
    store.post(3)
    wait_for_rows(app, qtbot, [3, 2, 1])
    assert app.pages.board.total.text == "3"
    assert app.window.pill.pill.title == "Live"


def test_a_burst_of_5000_arrives_whole_in_order_and_in_few_batches(app, store, qtbot):
    store.serve()
    wait_for_snapshot(app, qtbot)
    poster = threading.Thread(target=store.post, args=range(1, 5_001))
    with capture_logs() as logs:
        poster.start()
        wait_for_rows(app, qtbot, range(5_000, 0, -1))
        poster.join()
    assert app.pages.board.total.text == "5,000"
    batches = [event for event in logs if event["event"] == "marks_shown"]
    assert batches[-1]["newest_seq"] == 5_000
    assert len(batches) < 500


def test_a_burst_beyond_the_cap_keeps_the_newest(app, store, qtbot):
    app.board.state.rows.max_rows = 1_000
    store.serve()
    wait_for_snapshot(app, qtbot)
    store.post(*range(1, 5_001))
    wait_for_rows(app, qtbot, range(5_000, 4_000, -1))
    assert app.pages.board.total.text == "5,000"


def test_after_a_restart_of_the_server_the_board_goes_on_by_itself(app, store, qtbot):
    store.serve()
    store.post(1, 2)
    wait_for_rows(app, qtbot, [2, 1])
    store.stop()
    qtbot.waitUntil(lambda: app.window.pill.pill.title == "Reconnecting", timeout=DEADLINE_MS)
    assert shown(app) == [2, 1]
    store.serve()  # a MemoryLog of its own: a new epoch, seqs from 1 again
    store.post(3)
    wait_for_rows(app, qtbot, [3, 2, 1])
    qtbot.waitUntil(lambda: app.window.pill.pill.title == "Live", timeout=DEADLINE_MS)
    assert store.snapshots >= 2


def test_marks_posted_while_the_snapshot_is_under_way_are_not_lost(app, store, qtbot):
    store.serve()
    poster = threading.Thread(target=store.post, args=range(1, 2_001))
    poster.start()
    qtbot.waitUntil(lambda: shown(app)[:1] == [2_000], timeout=DEADLINE_MS)
    poster.join()
    assert app.board.state.counts.total == 2_000
    numbers = shown(app)
    assert numbers == list(range(2_000, 2_000 - len(numbers), -1))


def test_a_line_reaches_the_server_and_is_listed_as_sent(app, store, qtbot):
    store.serve()
    wait_for_snapshot(app, qtbot)
    qtbot.keyClicks(app.pages.messages.line, "gate open")
    qtbot.keyClick(app.pages.messages.line, Qt.Key.Key_Return)
    assert store.acted.wait(DEADLINE_MS / 1000)
    assert store.actions == [{"type": "action", "action": "note", "text": "gate open"}]
    qtbot.waitUntil(lambda: app.messages.rowCount() == 1, timeout=DEADLINE_MS)
    assert app.messages.data(app.messages.index(0, 3)) == "sent"


def test_a_line_written_while_the_server_is_away_arrives_when_it_is_back(app, store, qtbot):
    qtbot.keyClicks(app.pages.messages.line, "gate open")
    qtbot.keyClick(app.pages.messages.line, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: app.messages.rowCount() == 1, timeout=DEADLINE_MS)
    assert app.messages.data(app.messages.index(0, 3)) == "queued"
    store.serve()
    assert store.acted.wait(DEADLINE_MS / 1000)
    assert len(store.actions) == 1


def test_the_launchers_children_are_shown_and_followed(app, tmp_path, qtbot):
    child = {"name": "server", "state": "RUNNING", "pid": 7, "restarts": 0, "uptime_s": 2.0, "last_exit": None}
    control = SocketServer(str(tmp_path / "axon-control.sock"), authkey=KEY)
    control.on_request("status")(lambda _payload: {"type": "status", "children": [child]})
    control.start()
    try:
        app.control.start()
        cards = app.pages.processes.cards
        qtbot.waitUntil(lambda: [card.text("PID") for card in cards] == ["7"], timeout=DEADLINE_MS)
        control.broadcast({"type": "children", "children": [child | {"state": "STARTING", "pid": 8, "attempt": 1}]})
        qtbot.waitUntil(lambda: [card.text("PID") for card in cards] == ["8"], timeout=DEADLINE_MS)
        assert app.window.pill.pill.title == "Server restarting, attempt 1"
    finally:
        control.stop()
