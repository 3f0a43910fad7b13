"""A server under test: the real `run` on real sockets, in a thread; the test plays the launcher."""

import contextlib
import http.client
import json
import logging
import socket
import threading
from multiprocessing.connection import Listener
from typing import Any, NamedTuple

import structlog

from ipc import ChildSettings, SocketClient
from server_proc import late_answer
from server_proc.database import Database
from server_proc.main import run
from server_proc.write_turn import WriteTurn

AUTHKEY = b"k" * 32
DEADLINE_S = 20


class Answer(NamedTuple):
    """What came back over HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Context:
    """The launcher as a child sees it."""

    def __init__(self, settings, listener, http_socket, authkey=AUTHKEY):
        self.settings = settings
        self.listener = listener
        self.http_socket = http_socket
        self.authkey = authkey
        self.is_ready = threading.Event()
        self.is_released = threading.Event()
        self.heartbeats = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._callbacks = []
        self._is_stopping = False

    def ready(self):
        self.is_ready.set()

    def wait_for_go(self):
        return not self._is_stopping

    def wait_to_accept(self):
        return not self._is_stopping

    def wait_to_succeed(self):
        return not self._is_stopping

    def released(self):
        self.is_released.set()

    def heartbeat(self):
        self.heartbeats.release()

    def on_stop(self, callback):
        with self._lock:
            if not self._is_stopping:
                self._callbacks.append(callback)
                return
        callback()

    def stop(self):
        with self._lock:
            self._is_stopping = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


class Sockets:
    """The listening sockets, which outlive every server that serves on them."""

    def __init__(self, directory, host="127.0.0.1"):
        self.path = str(directory / "axon.sock")
        self.listener = Listener(self.path, "AF_UNIX", backlog=128)
        self.http_socket = socket.create_server((host, 0), backlog=1024)
        self.host, self.port = self.http_socket.getsockname()

    def settings(self, state_dir, **settings):
        return ChildSettings(
            name="server",
            run_id="test",
            socket=self.path,
            control_socket=self.path + ".control",
            url=f"http://{self.host}:{self.port}",
            state_dir=str(state_dir),
            **settings,
        )

    def client(self, name="ui"):
        return FollowingClient(self.path, name)

    def close(self):
        self.http_socket.close()
        self.listener.close()


class RunningServer:
    """Use as a context manager: ready inside the block, stopped after it."""

    def __init__(self, sockets, state_dir, **settings):
        self.sockets = sockets
        self.port = sockets.port
        self.exit_code = None
        self.error = None
        self.context = Context(sockets.settings(state_dir, **settings), sockets.listener, sockets.http_socket.dup())
        self._thread = threading.Thread(target=self._run, name="server-under-test")

    def __enter__(self):
        with kept_logging():
            self._thread.start()
            assert self.context.is_ready.wait(DEADLINE_S), self.error
        return self

    def __exit__(self, *_exception):
        self.stop()

    def _run(self):
        try:
            self.exit_code = run(self.context)
        except Exception as error:  # noqa: BLE001  the test's thread raises it
            self.error = error

    def stop(self):
        self.context.stop()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        self.context.http_socket.close()
        if self.error is not None:
            raise self.error
        return self.exit_code

    def request(self, method, path, body=None, headers=None):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE_S)) as connection:
            return ask(connection, method, path, body, headers)

    def post(self, body, path="/api/attendance"):
        return self.request("POST", path, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def client(self, name="ui"):
        return self.sockets.client(name)


class FollowingClient:
    """A real ipc client that keeps what it is told. Use as a context manager; it is live inside the block."""

    def __init__(self, path, name):
        self.messages = []
        self.gaps = []
        self._changed = threading.Condition()
        self._states = []
        self.client = SocketClient(path, authkey=AUTHKEY, name=name)
        self.client.add_delivery_handler(self._note)
        self.client.add_gap_handler(lambda first, last: self.gaps.append((first, last)))
        self.client.add_state_handler(self._note_state)

    def __enter__(self):
        self.client.start()
        self.wait_until(lambda: self.client.state.kind == "live")
        return self

    def __exit__(self, *_exception):
        self.client.stop()

    @property
    def seqs(self):
        return [message.seq for message in self.messages]

    def wait_until(self, is_true):
        with self._changed:
            assert self._changed.wait_for(is_true, DEADLINE_S), (self.client.state, len(self.messages))

    def wait_for_seq(self, seq):
        self.wait_until(lambda: self.messages and self.messages[-1].seq >= seq)

    def _note(self, message):
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def _note_state(self, state):
        with self._changed:
            self._states.append(state)
            self._changed.notify_all()


def ask(connection, method, path, body=None, headers=None):
    """Send one request on a connection that stays open."""
    connection.request(method, path, body, headers or {})
    answer = connection.getresponse()
    return Answer(answer.status, dict(answer.getheaders()), answer.read())


def be_patient(set_attribute=setattr):
    """Let writers wait for their turn, and answers for their work, for as long as a test does, not for 3 s.

    That a machine is busy is no reason to give up on anybody.
    """
    for write in (Database.write, WriteTurn.write):
        set_attribute(write.__wrapped__, "__defaults__", (DEADLINE_S,))
    set_attribute(late_answer, "PATIENCE_S", DEADLINE_S)


def without_request(payload):
    """Return an announced mark as it was answered."""
    return {key: value for key, value in payload.items() if key != "requestId"}


@contextlib.contextmanager
def kept_logging():
    """Keep waitress's logger as it is for other tests."""
    logger = logging.getLogger("waitress")
    before = (logger.handlers, logger.propagate, logger.level)
    try:
        yield
    finally:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])


def serve_in_process(settings, listener, http_socket, ready_writer):
    """Run a server in this process until it is killed; say through a pipe when it is ready."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    be_patient()
    context = Context(settings, listener, http_socket)
    context.ready = lambda: ready_writer.send_bytes(b"ready")
    run(context)
