"""`SocketManager`: everything on the GUI thread, in short turns, and nothing lost."""

import gc
import random
import subprocess
import sys
import threading
import time

import psutil
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QEventLoop, QObject, QTimer

from ipc import Limits, SocketManager, socket_client
from tests.unit.ipc.channel import KEY, QUICK, WITHIN_S, eventually, thread_names, time_of, unhurried

WITHIN_MS = int(WITHIN_S * 1000)
LONGEST_TURN_S = 0.016

# A server in a process of its own, so that it does not compete with the GUI for the interpreter.
BURSTING_SERVER = """
import sys
from ipc import Limits, SocketServer
server = SocketServer(sys.argv[1], authkey=sys.argv[2].encode(), limits=Limits(log_messages=1 << 20, log_bytes=1 << 30))

@server.add_message_handler
def burst(payload):
    for number in range(payload["count"]):
        server.broadcast({"type": "attendance", "number": number, "personId": "12345", "text": "x" * payload["size"]})

server.start()
print("started", flush=True)
sys.stdin.read()
server.stop()
"""


class Heard(QObject):
    """Everything a manager tells, and on which thread it was told."""

    def __init__(self, manager):
        super().__init__()
        self.payloads, self.seqs, self.gaps, self.states = [], [], [], []
        self.threads = set()
        manager.message_received.connect(lambda payload: self._note(self.payloads, payload))
        manager.delivered.connect(lambda message: self._note(self.seqs, message.seq))
        manager.gap_received.connect(lambda bounds: self._note(self.gaps, bounds))
        manager.state_changed.connect(lambda state: self._note(self.states, state))

    def _note(self, notes, what):
        self.threads.add(threading.current_thread())
        notes.append(what)

    @property
    def is_live(self):
        return bool(self.states) and self.states[-1].kind == "live"


@pytest.fixture
def open_manager(request, socket_path):
    """Start managers; they are stopped and deleted at the end."""
    request.getfixturevalue("qapp")
    managers = []

    def start(**options):
        manager = SocketManager(socket_path, **({"authkey": KEY} | options))
        heard = Heard(manager)
        managers.append(manager)
        manager.start()
        return manager, heard

    yield start
    for manager in managers:
        manager.stop()
        manager.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


@pytest.fixture
def bursting_server(socket_path):
    process = subprocess.Popen(
        [sys.executable, "-c", BURSTING_SERVER, socket_path, KEY.decode()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    yield process
    process.communicate(timeout=WITHIN_S)
    assert process.returncode == 0


class Turns(QObject):
    """Measures the longest turn of the event loop, and how much memory there is.

    A turn's length is what all threads of this process work in it: that is what can be blamed on us. A turn may take
    longer by the clock when other programs want the machine.
    """

    def __init__(self):
        super().__init__()
        self.longest_s = 0.0
        self.count = 0
        self.peak_bytes = 0
        self._process = psutil.Process()
        self._last = time.process_time()
        self._timer = QTimer(self, interval=0)
        self._timer.timeout.connect(self._turn)
        self._timer.start()

    def _turn(self):
        self.count += 1
        self.longest_s = max(self.longest_s, time.process_time() - self._last)
        if self.count % 20 == 0:
            self.peak_bytes = max(self.peak_bytes, self._process.memory_info().rss)
        self._last = time.process_time()

    def stop(self):
        self._timer.stop()


# -- on the GUI thread -------------------------------------------------------------------------------------------------


def test_everything_is_told_on_the_thread_that_made_the_manager(qtbot, open_server, open_manager):
    server = open_server(limits=unhurried(log_messages=5))
    server.on_request("ask")(lambda _payload: {"answer": 42})
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    replies = []
    manager.request({"type": "ask"}, lambda outcome: heard._note(replies, outcome), WITHIN_S)
    manager.request({"type": "unheard of"}, lambda outcome: heard._note(replies, outcome), WITHIN_S)
    server.broadcast({"number": 1})
    qtbot.waitUntil(lambda: len(heard.payloads) == 1 and len(replies) == 2, timeout=WITHIN_MS)
    server.stop()
    for number in range(2, 20):
        server.broadcast({"number": number})
    server.start()
    qtbot.waitUntil(lambda: len(heard.payloads) == 6, timeout=WITHIN_MS)
    assert heard.gaps == [(2, 14)]
    assert heard.seqs == [1, 15, 16, 17, 18, 19]
    assert replies[0] == {"answer": 42}
    assert replies[1].code == "unknown_request"
    assert {"connecting", "resuming", "live"} <= {state.kind for state in heard.states}
    assert heard.threads == {threading.current_thread()}


PAYLOADS = [
    {"great": 2**63, "greater": 2**64, "small": -(2**63), "float": 1e308, "tiny": 5e-324},
    {"text": "\U0001f600 \u202e \0 \ufffd", "": "", "1": {"2": 3}},
    {"none": None, "bool": True, "list": [[[]], {}], "nested": {"a": {"b": {"c": [1, 2.5, None, {"d": False}]}}}},
    {},
]


def test_payloads_survive_unchanged(qtbot, open_server, open_manager):
    server = open_server()
    server.on_request("echo")(lambda payload: payload)
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    replies = []
    for payload in PAYLOADS:
        server.broadcast(payload)
        manager.request({"type": "echo", "payload": payload}, replies.append, WITHIN_S)
    qtbot.waitUntil(lambda: len(heard.payloads) == len(replies) == len(PAYLOADS), timeout=WITHIN_MS)
    assert heard.payloads == PAYLOADS
    assert [reply["payload"] for reply in replies] == PAYLOADS
    types = [[type(value) for value in payload.values()] for payload in heard.payloads]
    assert types == [[type(value) for value in payload.values()] for payload in PAYLOADS]


def test_messages_go_out_too(qtbot, open_server, open_manager):
    server = open_server()
    handled = []
    server.add_message_handler(handled.append)
    manager, _heard = open_manager()
    assert manager.send_message({"before": "the connection"})
    assert manager.send_message("text")
    qtbot.waitUntil(lambda: len(handled) == 2, timeout=WITHIN_MS)
    assert handled == [{"before": "the connection"}, {"type": "message", "message": "text"}]


# -- bursts ------------------------------------------------------------------------------------------------------------


@pytest.mark.timeout(300)
@pytest.mark.usefixtures("bursting_server")
def test_a_burst_of_a_hundred_thousand_messages(qtbot, open_manager):
    """All in order, without a long turn of the event loop. The interpreter's own housekeeping may spoil one."""
    count = 100_000
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    expected, longest_s, extra_bytes = 0, [], []
    for _ in range(3):
        heard.payloads.clear()
        heard.seqs.clear()
        gc.collect()
        turns = Turns()
        before = psutil.Process().memory_info().rss
        numbers = _NumbersOnly(heard)
        manager.send_message({"count": count, "size": 20})
        qtbot.waitUntil(lambda numbers=numbers: numbers.count >= count, timeout=100_000)
        turns.stop()
        assert numbers.is_in_order
        assert heard.seqs == []
        expected += count
        longest_s.append(turns.longest_s)
        extra_bytes.append(turns.peak_bytes - before)
        if longest_s[-1] < LONGEST_TURN_S and extra_bytes[-1] < 10 << 20:
            break
    assert manager.stats["last_seq"] == expected
    assert min(longest_s) < LONGEST_TURN_S, longest_s
    assert min(extra_bytes) < 10 << 20, extra_bytes


class _NumbersOnly:
    """Stands in for the lists of `Heard`: checks the order, keeps nothing."""

    def __init__(self, heard):
        self.count = 0
        self.is_in_order = True
        heard.payloads = self
        heard._note = lambda notes, what: notes.append(what) if notes is self else None

    def append(self, payload):
        self.is_in_order = self.is_in_order and payload["number"] == self.count
        self.count += 1

    def clear(self):
        pass


@pytest.mark.parametrize("limits", [Limits(inbox_messages=100), Limits(inbox_bytes=100_000)])
def test_a_full_inbox_holds_the_client_and_nothing_is_lost(qtbot, open_server, open_manager, limits):
    """While the GUI is busy, what waits for it waits at the server."""
    server = open_server()
    manager, heard = open_manager(limits=limits)
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    count = 20_000
    for number in range(count):
        server.broadcast({"number": number, "text": "x" * 1000})
    [peer] = server.peers
    assert peer.lag > count // 2
    assert manager.stats["last_seq"] < count // 2
    qtbot.waitUntil(lambda: len(heard.payloads) == count, timeout=60_000)
    assert [payload["number"] for payload in heard.payloads] == list(range(count))
    assert heard.gaps == []
    eventually(lambda: server.peers[0].acked_seq == count)


def test_a_gui_that_is_too_slow_for_the_log_is_told(qtbot, open_server, open_manager):
    server = open_server(limits=unhurried(log_messages=50))
    _manager, heard = open_manager(limits=Limits(inbox_messages=10))
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    count = 5000
    for number in range(count):
        server.broadcast({"number": number, "text": "x" * 2000})
    qtbot.waitUntil(lambda: heard.seqs[-1:] == [count], timeout=60_000)
    missed = [seq for first, last in heard.gaps for seq in range(first, last + 1)]
    assert missed
    assert sorted(missed + heard.seqs) == list(range(1, count + 1))


def test_a_slot_that_raises_loses_nothing_else(qtbot, open_server, open_manager):
    server = open_server()
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)

    def fail(payload):
        raise ZeroDivisionError(payload["number"])

    manager.message_received.connect(fail)
    with qtbot.captureExceptions() as raised:
        for number in range(100):
            server.broadcast({"number": number})
        qtbot.waitUntil(lambda: len(heard.payloads) == 100, timeout=WITHIN_MS)
    assert len(raised) == 100
    assert heard.seqs == list(range(1, 101))


# -- requests ----------------------------------------------------------------------------------------------------------


def test_a_dialog_in_a_slot_holds_nothing_up(qtbot, open_server, open_manager):
    """It runs an event loop of its own: what comes meanwhile is told, in order, and a request made there ends."""
    server = open_server()
    server.on_request("ask")(lambda _payload: {"answer": 1})
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    told, outcomes = [], []

    def ask_in_a_loop_of_its_own(payload):
        told.append(payload["number"])
        if payload["number"] in (1, 3):
            loop = QEventLoop()
            manager.request({"type": "ask"}, lambda outcome: (outcomes.append(outcome), loop.quit()), WITHIN_S)
            loop.exec()

    manager.message_received.connect(ask_in_a_loop_of_its_own)
    for number in range(1, 6):
        server.broadcast({"number": number})
    qtbot.waitUntil(lambda: len(outcomes) == 2, timeout=WITHIN_MS)
    server.broadcast({"number": 6})
    qtbot.waitUntil(lambda: len(told) == 6, timeout=WITHIN_MS)
    assert told == [1, 2, 3, 4, 5, 6]
    assert outcomes == [{"answer": 1}] * 2
    qtbot.waitUntil(lambda: server.peers[0].acked_seq == 6, timeout=WITHIN_MS)


def test_a_message_that_comes_during_a_dialog_is_told_during_it(qtbot, open_server, open_manager):
    server = open_server()
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    told, loop = [], QEventLoop()

    def show(payload):
        told.append(payload["number"])
        if payload["number"] == 1:
            QTimer.singleShot(0, lambda: server.broadcast({"number": 2}))
            loop.exec()
        else:
            loop.quit()

    manager.message_received.connect(show)
    server.broadcast({"number": 1})
    qtbot.waitUntil(lambda: told == [1, 2], timeout=WITHIN_MS)


def test_what_waits_of_an_epoch_that_is_over_is_not_acknowledged_to_the_next(qtbot, open_server, open_manager):
    server = open_server()
    manager, heard = open_manager(limits=QUICK)
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    for number in range(1, 51):
        server.broadcast({"number": number})
    eventually(lambda: manager.stats["last_seq"] == 50)
    server.stop()
    heir = open_server()
    for number in range(51, 71):
        heir.broadcast({"number": number})
    eventually(lambda: (manager.stats["epoch"], manager.stats["last_seq"]) == (heir.stats["epoch"], 20))
    seen = []

    def work(payload):
        pause.wait(0.001)  # many slices, and so many acks
        seen.append((payload["number"], heir.peers[0].acked_seq))

    pause = threading.Event()
    manager.message_received.connect(work)
    qtbot.waitUntil(lambda: len(seen) == 70, timeout=WITHIN_MS)
    assert [acked for number, acked in seen if number <= 50] == [0] * 50
    qtbot.waitUntil(lambda: heir.peers[0].acked_seq == 20, timeout=WITHIN_MS)


@pytest.mark.parametrize("timeout_s", [float("inf"), 1e9])
def test_a_request_may_wait_for_as_long_as_it_takes(qtbot, open_server, open_manager, timeout_s):
    server = open_server()
    server.on_request("ask")(lambda _payload: {"answer": 1})
    manager, _heard = open_manager()
    outcomes = []
    manager.request({"type": "ask"}, outcomes.append, timeout_s=timeout_s)
    qtbot.waitUntil(lambda: bool(outcomes), timeout=WITHIN_MS)
    assert outcomes == [{"answer": 1}]


def test_a_request_ends_at_its_deadline(qtbot, open_manager):
    manager, _heard = open_manager()
    outcomes = []
    began = time.monotonic()
    manager.request({"type": "ask"}, outcomes.append, timeout_s=0.2)
    qtbot.waitUntil(lambda: bool(outcomes), timeout=WITHIN_MS)
    assert outcomes[0].code == "timeout"
    assert 0.15 < time.monotonic() - began < 4.5  # not the 5 s that it has otherwise


def test_a_reply_after_its_deadline_is_not_told(qtbot, open_server, open_manager):
    server = open_server()
    gate = threading.Event()
    server.on_request("wait")(lambda _payload: {"waited": gate.wait(WITHIN_S)})
    server.on_request("ask")(lambda _payload: {"answer": 42})
    manager, _heard = open_manager()
    outcomes = []
    manager.request({"type": "wait"}, outcomes.append, timeout_s=0.1)
    qtbot.waitUntil(lambda: bool(outcomes), timeout=WITHIN_MS)
    gate.set()
    manager.request({"type": "ask"}, outcomes.append, timeout_s=WITHIN_S)
    qtbot.waitUntil(lambda: len(outcomes) == 2, timeout=WITHIN_MS)
    assert outcomes[0].code == "timeout"
    assert outcomes[1] == {"answer": 42}


def test_a_request_that_cannot_be_sent_ends_on_a_later_turn(qtbot, open_manager):
    manager, _heard = open_manager(limits=Limits(outbox_messages=1))
    assert manager.send_message({})
    outcomes = []
    manager.request({"type": "ask"}, outcomes.append)
    assert outcomes == []
    qtbot.waitUntil(lambda: bool(outcomes), timeout=WITHIN_MS)
    assert outcomes[0].code == "outbox_full"


def test_what_on_reply_raises_stops_nothing(qtbot, open_server, open_manager):
    server = open_server()
    server.on_request("ask")(lambda _payload: {"answer": 42})
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)

    def fail(_outcome):
        raise ZeroDivisionError

    with qtbot.captureExceptions() as raised:
        manager.request({"type": "ask"}, fail)
        qtbot.waitUntil(lambda: bool(raised), timeout=WITHIN_MS)
        for number in range(10):
            server.broadcast({"number": number})
        qtbot.waitUntil(lambda: len(heard.payloads) == 10, timeout=WITHIN_MS)
    assert len(raised) == 1


def test_requests_that_wait_end_once_at_stop(qtbot, open_server, open_manager):
    open_server()
    manager, _heard = open_manager()
    outcomes = []
    manager.request({"type": "ask"}, outcomes.append, timeout_s=0.3)
    manager.stop()
    qtbot.waitUntil(lambda: bool(outcomes), timeout=WITHIN_MS)
    qtbot.wait(400)  # past its deadline
    assert [outcome.code for outcome in outcomes] in (["stopped"], ["unknown_request"])


# -- the end -----------------------------------------------------------------------------------------------------------


def test_stop_at_any_moment_is_clean_and_silent(qtbot, open_server, open_manager):
    """Anywhere between the first attempt and the middle of a burst."""
    server = open_server()
    moments = random.Random(1)  # noqa: S311 - the same moments each time
    for _ in range(40):
        manager, heard = open_manager(limits=Limits(inbox_messages=50))
        target = moments.choice([0, 1, 2, 3, 30])
        for number in range(200):
            server.broadcast({"number": number})
        if target:
            qtbot.waitUntil(
                lambda heard=heard, target=target: len(heard.states) + len(heard.payloads) >= min(target, 3),
                timeout=WITHIN_MS,
            )
        for number in range(200):
            server.broadcast({"number": number})
        assert time_of(manager.stop) < 1.5
        told = len(heard.states), len(heard.payloads)
        QCoreApplication.processEvents()
        assert (len(heard.states), len(heard.payloads)) == told
        eventually(lambda: thread_names("ipc-client") == [])


def test_stop_inside_a_slot_is_the_last_thing_that_is_told(qtbot, open_server, open_manager):
    server = open_server()
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    manager.message_received.connect(lambda payload: manager.stop() if payload["number"] == 5 else None)
    for number in range(20):
        server.broadcast({"number": number})
    qtbot.waitUntil(lambda: len(heard.payloads) == 6, timeout=WITHIN_MS)
    for _ in range(5):
        QCoreApplication.processEvents()
    assert [payload["number"] for payload in heard.payloads] == [0, 1, 2, 3, 4, 5]


def test_what_waited_at_stop_is_told_after_the_next_start(qtbot, open_server, open_manager):
    """Nothing that was not told counts as handled: it is replayed."""
    server = open_server()
    manager, heard = open_manager(limits=Limits(inbox_messages=10))
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    for number in range(1000):
        server.broadcast({"number": number, "text": "x" * 100})
    eventually(lambda: manager.stats["last_seq"] > 0)
    manager.stop()
    manager.start()
    qtbot.waitUntil(lambda: heard.seqs[-1:] == [1000], timeout=WITHIN_MS)
    missed = [seq for first, last in heard.gaps for seq in range(first, last + 1)]
    assert sorted(missed + heard.seqs) == list(range(1, 1001))


@pytest.mark.parametrize("is_started_first", [False, True], ids=["before the next start", "after the next start"])
def test_what_comes_after_the_stop_is_told_after_the_next_start(
    qtbot, open_server, open_manager, monkeypatch, is_started_first
):
    """A machine may keep the client's thread from its work for longer than `stop` waits for it."""
    server = open_server()
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    server.broadcast({"number": 1})
    eventually(lambda: manager.stats["last_seq"] == 1)  # and the GUI has not seen it
    put, arrived, may_go_on = manager._inbox.put, threading.Event(), threading.Event()

    def put_late(items, size_bytes=0):
        if not may_go_on.is_set():
            arrived.set()
            assert may_go_on.wait(WITHIN_S)
        put(items, size_bytes)

    monkeypatch.setattr(manager._inbox, "put", put_late)
    monkeypatch.setattr(socket_client, "_JOIN_S", 0.0)
    server.broadcast({"number": 2})
    assert arrived.wait(WITHIN_S)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "ipc-client-ui"]
    manager.stop()
    if is_started_first:
        manager.start()
    may_go_on.set()
    thread.join(WITHIN_S)
    server.broadcast({"number": 3})
    manager.start()
    qtbot.waitUntil(lambda: heard.seqs[-1:] == [3], timeout=WITHIN_MS)
    assert heard.seqs == [1, 2, 3]
    assert heard.gaps == []


def test_a_gap_that_waited_at_stop_is_told_after_the_next_start(qtbot, open_server, open_manager):
    server = open_server(limits=unhurried(log_messages=5))
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    server.stop()
    for number in range(20):
        server.broadcast({"number": number})
    server.start()
    eventually(lambda: manager.stats["last_seq"] == 20)  # and the GUI has not seen any of it
    manager.stop()
    manager.start()
    qtbot.waitUntil(lambda: heard.seqs[-1:] == [20], timeout=WITHIN_MS)
    assert heard.gaps == [(1, 15)]
    assert heard.seqs == [16, 17, 18, 19, 20]


def test_what_waited_at_stop_of_a_new_epoch_is_told_after_the_next_start(qtbot, open_server, open_manager):
    """Messages of the old epoch wait in front of them, and cannot be had again."""
    server = open_server()
    manager, heard = open_manager()
    qtbot.waitUntil(lambda: heard.is_live, timeout=WITHIN_MS)
    for number in range(1, 21):
        server.broadcast({"epoch": 1, "number": number})
    qtbot.waitUntil(lambda: len(heard.payloads) == 20, timeout=WITHIN_MS)
    for number in range(21, 31):
        server.broadcast({"epoch": 1, "number": number})
    eventually(lambda: manager.stats["last_seq"] == 30)
    server.stop()
    heir = open_server()
    for number in range(1, 11):
        heir.broadcast({"epoch": 2, "number": number})
    eventually(lambda: (manager.stats["epoch"], manager.stats["last_seq"]) == (heir.stats["epoch"], 10))
    manager.stop()
    manager.start()
    qtbot.waitUntil(lambda: heard.payloads[-1:] == [{"epoch": 2, "number": 10}], timeout=WITHIN_MS)
    assert [payload["number"] for payload in heard.payloads if payload["epoch"] == 2] == list(range(1, 11))


@pytest.mark.usefixtures("qapp")
def test_a_manager_that_is_deleted_stops_its_client(open_server, socket_path):
    server = open_server()
    for _ in range(10):
        manager = SocketManager(socket_path, authkey=KEY)
        manager.start()
        eventually(lambda manager=manager: manager.state.kind == "live")
        for number in range(100):
            server.broadcast({"number": number})
        manager.deleteLater()
        del manager
        QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
        gc.collect()
        eventually(lambda: thread_names("ipc-client") == [])


QUITTING = """
import json, os, sys
os.environ["QT_QPA_PLATFORM"] = "offscreen"
from PySide6.QtCore import QCoreApplication, QTimer
from ipc import Limits, SocketManager
application = QCoreApplication([])
manager = SocketManager(sys.argv[1], authkey=sys.argv[2].encode(), limits=Limits(inbox_messages=100))
quit_at, how = int(sys.argv[3]), sys.argv[4]
told = 0
def note(_payload):
    global told
    told += 1
    if told == quit_at:
        application.quit()
manager.message_received.connect(note)
manager.state_changed.connect(lambda state: state.kind == "live" and manager.send_message({"count": 20000, "size": 50}))
manager.start()
QTimer.singleShot(80000, lambda: os._exit(3))
if quit_at == 0:
    QTimer.singleShot(0, application.quit)
application.exec()
if how == "stop":
    manager.stop()
"""


@pytest.mark.parametrize("how", ["stop", "leave"])
@pytest.mark.parametrize("quit_at", [0, 1, 5000])
def test_quitting_at_any_moment_is_clean(bursting_server, socket_path, quit_at, how):
    assert bursting_server.poll() is None
    command = [sys.executable, "-c", QUITTING, socket_path, KEY.decode(), str(quit_at), how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
