"""The client's end for Qt programs: everything the application sees happens on the GUI thread.

The client's thread puts what comes into a bounded inbox and wakes the GUI once; the GUI drains it in short slices, so
that a burst never holds up a repaint. A full inbox holds the client's thread: then the server's cursor for us lags, and
nothing is lost until its log laps us, which we are told. This is the one module of the package that knows Qt.
"""

import collections
import threading
import time
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, Qt, QTimer, Signal

from ipc.client_state import ClientState
from ipc.endpoint import DEFAULT_SOCKET_PATH
from ipc.errors import RequestError
from ipc.limits import Limits
from ipc.pending import OnReply
from ipc.protocol import Message, Payload
from ipc.socket_client import SocketClient

SLICE_S = 0.004
"""The longest the GUI thread works on the inbox before it lets Qt do something else."""

_Item = Callable[[], None]


class _Inbox:
    """Things to do on the GUI thread. `put` waits while it is full, until it is drained or closed."""

    def __init__(self, max_messages: int, wake: Callable[[], None]) -> None:
        self._max_messages = max_messages
        self._wake = wake
        self._items: collections.deque[Message | _Item] = collections.deque()
        self._has_room = threading.Condition()
        self._is_awake = False
        self._is_closed = False

    def put(self, items: list[Message] | list[_Item]) -> None:
        with self._has_room:
            self._has_room.wait_for(lambda: self._is_closed or len(self._items) < self._max_messages)
            if self._is_closed:
                return
            self._items.extend(items)
            is_asleep, self._is_awake = not self._is_awake, True
        if is_asleep:
            self._wake()

    def take(self) -> Message | _Item | None:
        """Return the next item; None if there is none, and then the next `put` wakes the GUI again."""
        try:
            item = self._items.popleft()
        except IndexError:
            with self._has_room:
                if not self._items:
                    self._is_awake = False
                    return None
                item = self._items.popleft()
        if len(self._items) == self._max_messages // 2:
            with self._has_room:
                self._has_room.notify_all()
        return item

    def open(self) -> None:
        with self._has_room:
            self._is_closed = self._is_awake = False

    def close(self) -> None:
        """Let a waiting `put` go, and keep nothing."""
        with self._has_room:
            self._is_closed = True
            self._items.clear()
            self._has_room.notify_all()


class _InboxClient(SocketClient):
    """A client that leaves messages in an inbox; the one who empties it acknowledges them."""

    inbox: _Inbox

    def _deliver(self, messages: list[Message]) -> None:
        self.inbox.put(messages)


class SocketManager(QObject):
    """A `SocketClient` whose signals are emitted on the thread that made it.

    Signals:
        message_received(payload: dict): a message of the server
        delivered(message: Message): the same with its `seq` and `ts`
        gap_received((first, last)): these seqs can no longer come; reload what you show
        state_changed(state: ClientState)
    """

    # Signal(object), never Signal(dict): PySide6 turns 2**63 into -1 and {1: ...} into {} on the way.
    message_received = Signal(object)
    delivered = Signal(object)
    gap_received = Signal(object)
    state_changed = Signal(object)
    _inbox_filled = Signal()

    def __init__(
        self,
        address: str = DEFAULT_SOCKET_PATH,
        *,
        authkey: bytes | None = None,
        name: str = "ui",
        limits: Limits | None = None,
        parent: QObject | None = None,
        log_payloads: bool = False,
    ) -> None:
        super().__init__(parent)
        limits = limits or Limits()
        self._client = _InboxClient(address, authkey=authkey, name=name, limits=limits, log_payloads=log_payloads)
        self._client.inbox = self._inbox = _Inbox(limits.inbox_messages, self._inbox_filled.emit)
        self._client.add_gap_handler(lambda first, last: self._later(lambda: self.gap_received.emit((first, last))))
        self._client.add_state_handler(lambda state: self._later(lambda: self.state_changed.emit(state)))
        self._inbox_filled.connect(self._drain, Qt.ConnectionType.QueuedConnection)
        client, inbox = self._client, self._inbox

        def stop_with_qobject() -> None:
            inbox.close()
            client.stop()

        self.destroyed.connect(stop_with_qobject)

    @property
    def state(self) -> ClientState:
        return self._client.state

    @property
    def stats(self) -> dict[str, Any]:
        return self._client.stats

    def start(self) -> None:
        """Begin to connect; see SocketClient.start."""
        self._inbox.open()
        self._client.start()

    def stop(self) -> None:
        """Stop within a second; nothing is emitted afterwards."""
        self._inbox.close()
        self._client.stop()

    def send_message(self, payload: Payload | str) -> bool:
        """Send to the server; see SocketClient.send_message."""
        return self._client.send_message(payload)

    def request(self, payload: Payload, on_reply: OnReply, timeout_s: float = 5.0) -> None:
        """Send a request; `on_reply(payload or RequestError)` is called once, on this thread. Raises PayloadError."""
        try:
            number = self._client.begin_request(payload, lambda outcome: self._later(lambda: on_reply(outcome)))
        except RequestError as error:
            refused = error
            QTimer.singleShot(0, self, lambda: on_reply(refused))
            return

        def give_up() -> None:
            if self._client.cancel_request(number):
                on_reply(RequestError("timeout", f"no reply within {timeout_s} s"))

        QTimer.singleShot(int(timeout_s * 1000), self, give_up)

    def _later(self, item: _Item) -> None:
        self._inbox.put([item])

    def _drain(self) -> None:
        """Work on the inbox for one slice, acknowledge, and come back for the rest."""
        slice_ends = time.monotonic() + SLICE_S
        newest = 0
        while (item := self._inbox.take()) is not None:
            if isinstance(item, Message):
                newest = item.seq or newest
                self.delivered.emit(item)
                self.message_received.emit(item.payload)
            else:
                item()
            if time.monotonic() > slice_ends:
                self._inbox_filled.emit()
                break
        if newest:
            self._client.acknowledge(newest)
