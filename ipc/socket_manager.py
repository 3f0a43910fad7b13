"""The client's end for Qt programs: everything the application sees happens on the GUI thread.

The client's thread puts what comes into a bounded inbox and wakes the GUI once; the GUI drains it in short slices, so
that a burst never holds up a repaint. A full inbox holds the client's thread: then the server's cursor for us lags, and
nothing is lost until its log laps us, which we are told. This is the one module of the package that knows Qt.
"""

import collections
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct
from PySide6.QtCore import QObject, Qt, QTimer, Signal

from ipc.client_state import ClientState
from ipc.endpoint import DEFAULT_SOCKET_PATH
from ipc.errors import RequestError
from ipc.limits import Limits
from ipc.pending import OnReply
from ipc.protocol import Gap, Message, Payload
from ipc.socket_client import SocketClient

SLICE_S = 0.004
"""The longest the GUI thread works on the inbox before it lets Qt do something else."""

_LONGEST_TIMER_S = 2_000_000.0
"""A QTimer counts its milliseconds in 31 bits."""


class _Epoch(Struct, frozen=True):
    """What comes behind this in the inbox is numbered in this epoch."""

    name: str | None


_Item = Message | Gap | ClientState | _Epoch | Callable[[], None]
"""What is told on the GUI thread, or called there."""


class _Inbox:
    """What waits for the GUI thread. `put` waits while it is full, until half of it is drained or it is closed.

    While it is closed nothing can be taken, and what is put is kept for `remove`.
    """

    def __init__(self, max_messages: int, max_bytes: int, wake: Callable[[], None]) -> None:
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._wake = wake
        self._items: collections.deque[tuple[_Item, int]] = collections.deque()  # each with its share of the bytes
        self._put_bytes = self._taken_bytes = 0
        self._has_room = threading.Condition()
        self._putting = 0
        self._is_awake = False
        self._is_closed = False

    def put(self, items: Sequence[_Item], size_bytes: int = 0) -> None:
        """Add items. `size_bytes` is what they took on their way, all together."""
        with self._has_room:
            self._putting += 1  # first: whoever takes from here on tells of it
            self._has_room.wait_for(lambda: self._is_closed or self._holds_less_than_one_in(1))
            self._putting -= 1
            share_bytes = size_bytes // len(items)
            self._items.extend((item, share_bytes) for item in items)
            self._put_bytes += share_bytes * len(items)
            is_asleep = not self._is_awake and not self._is_closed
            self._is_awake |= is_asleep
        if is_asleep:
            self._wake()

    def take(self) -> _Item | None:
        """Return the next item; None if there is none, and then the next `put` wakes the GUI again."""
        if self._is_closed:
            return None
        try:
            item, share_bytes = self._items.popleft()
        except IndexError:
            with self._has_room:
                if not self._items:
                    self._is_awake = False
                    return None
                item, share_bytes = self._items.popleft()
        self._taken_bytes += share_bytes
        if self._putting and self._holds_less_than_one_in(2):
            with self._has_room:
                self._has_room.notify_all()
        return item

    def _holds_less_than_one_in(self, part: int) -> bool:
        """Tell whether less waits than may, divided by `part`."""
        waiting_bytes = self._put_bytes - self._taken_bytes
        return part * len(self._items) < self._max_messages and part * waiting_bytes < self._max_bytes

    def open(self) -> None:
        with self._has_room:
            self._is_closed = False
            self._is_awake = bool(self._items)
        if self._is_awake:
            self._wake()

    def close(self) -> None:
        """Let a waiting `put` go."""
        with self._has_room:
            self._is_closed = True
            self._has_room.notify_all()

    def remove(self, *kinds: Any) -> list[Any]:
        """Take out everything of these kinds, in the order in which it came. While it is closed."""
        with self._has_room:
            removed = [each for each in self._items if isinstance(each[0], kinds)]
            self._items = collections.deque(each for each in self._items if not isinstance(each[0], kinds))
            self._taken_bytes += sum(share_bytes for _, share_bytes in removed)
        return [item for item, _ in removed]


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
        traffic_level: str = "info",
    ) -> None:
        super().__init__(parent)
        limits = limits or Limits()
        self._client = SocketClient(
            address,
            authkey=authkey,
            name=name,
            limits=limits,
            log_payloads=log_payloads,
            traffic_level=traffic_level,
        )
        self._client.deliver_to(self._take, self._begin)
        self._inbox = _Inbox(limits.inbox_messages, limits.inbox_bytes, self._inbox_filled.emit)
        self._received_bytes = 0
        self._client.add_gap_handler(self._gap_met)
        self._client.add_state_handler(self._state_met)
        self._drained_seq = 0
        self._drained_epoch = self._filled_epoch = _Epoch(None)
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
        self._client.start()

    def stop(self) -> None:
        """Stop within a second. What was not delivered yet is after the next start; requests end with "stopped"."""
        self._inbox.close()
        self._client.stop()
        self._inbox.close()  # once more: the client's thread may just have opened it
        for item in self._inbox.remove(Callable):
            QTimer.singleShot(0, self, item)  # the outcome of a request

    def send_message(self, payload: Payload | str) -> bool:
        """Send to the server; see SocketClient.send_message."""
        return self._client.send_message(payload)

    def request(self, payload: Payload, on_reply: OnReply, timeout_s: float = 5.0) -> None:
        """Send a request; `on_reply(payload or RequestError)` is called once, on this thread. Raises PayloadError."""

        def reply_here(outcome: Payload | RequestError) -> None:
            self._inbox.put([lambda: on_reply(outcome)])

        try:
            number = self._client.begin_request(payload, reply_here)
        except RequestError as error:
            refused = error
            QTimer.singleShot(0, self, lambda: on_reply(refused))
            return

        def give_up() -> None:
            if self._client.cancel_request(number):
                on_reply(RequestError("timeout", f"no reply within {timeout_s} s"))

        QTimer.singleShot(int(1000 * min(_LONGEST_TIMER_S, max(0.0, timeout_s))), self, give_up)

    def _begin(self) -> None:
        """Have told anew what was not told before the last stop, or came after it. On the client's thread."""
        undelivered = self._inbox.remove(Message, Gap, ClientState, _Epoch)
        self._client.want_again([item for item in undelivered if not isinstance(item, _Epoch)])
        self._filled_epoch = _Epoch(None)
        self._inbox.open()

    def _take(self, messages: list[Message]) -> bool:
        """Leave messages in the inbox; they count as handled, and are acknowledged, once it has been drained."""
        epoch = self._client.epoch
        if epoch != self._filled_epoch.name:
            self._filled_epoch = _Epoch(epoch)
            self._inbox.put([self._filled_epoch])
        received_bytes, before = self._client.received_bytes, self._received_bytes
        self._received_bytes = received_bytes
        self._inbox.put(messages, received_bytes - before)
        return False

    def _gap_met(self, first: int, last: int) -> None:
        self._inbox.put([Gap(first, last)])

    def _state_met(self, state: ClientState) -> None:
        self._inbox.put([state])

    def _drain(self) -> None:
        """Work on the inbox for one slice, acknowledge, and come back for the rest."""
        slice_ends = time.monotonic() + SLICE_S
        drained_before = self._drained_seq
        item = self._inbox.take()
        if item is None:
            return
        self._inbox_filled.emit()  # first: a slot may run an event loop of its own, as of a dialog, which goes on here
        while item is not None:
            self._tell(item)
            item = self._inbox.take() if time.monotonic() <= slice_ends else None
        if self._drained_seq != drained_before:
            self._client.acknowledge(self._drained_seq, self._drained_epoch.name)

    def _tell(self, item: _Item) -> None:
        if isinstance(item, Message):
            self._drained_seq = item.seq or self._drained_seq
            self.delivered.emit(item)
            self.message_received.emit(item.payload)
        elif isinstance(item, Gap):
            self.gap_received.emit((item.first, item.last))
        elif isinstance(item, ClientState):
            self.state_changed.emit(item)
        elif isinstance(item, _Epoch):
            self._drained_epoch = item
        else:
            _call(item)


def _call(item: Callable[[], None]) -> None:
    """Call back into the application; what it raises is reported as Qt does for a slot, and ends nothing else."""
    try:
        item()
    except Exception:  # noqa: BLE001 - the application may raise anything
        sys.excepthook(*sys.exc_info())
