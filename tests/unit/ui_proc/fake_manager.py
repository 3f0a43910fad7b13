"""A SocketManager that travels nowhere: the test plays the server."""

from PySide6.QtCore import QObject, Signal

from ipc import ClientState, Message

LIVE = ClientState(kind="live", attempt=1, retry_in_s=None, resumed=False, reason="")
RESUMED = ClientState(kind="live", attempt=1, retry_in_s=None, resumed=True, reason="")
STALE = ClientState(kind="stale", attempt=0, retry_in_s=None, resumed=False, reason="silent")
WAITING = ClientState(kind="waiting", attempt=3, retry_in_s=4.0, resumed=False, reason="refused")


class FakeManager(QObject):
    message_received = Signal(object)
    delivered = Signal(object)
    gap_received = Signal(object)
    state_changed = Signal(object)

    def __init__(self, address="", authkey=b"", name="ui", parent=None, log_payloads=False, traffic_level="info"):
        super().__init__(parent)
        self.address, self.authkey, self.name, self.log_payloads = address, authkey, name, log_payloads
        self.traffic_level = traffic_level
        self.is_started = False
        self.state = ClientState(kind="connecting", attempt=1, retry_in_s=None, resumed=False, reason="")
        self.requests = []  # (payload, on_reply)
        self.sent = []
        self.accepts = True

    def start(self):
        self.is_started = True

    def stop(self):
        self.is_started = False

    def enter(self, state):
        self.state = state
        self.state_changed.emit(state)

    def deliver(self, seq, payload):
        self.delivered.emit(Message(seq=seq, ts=0.0, payload=payload))
        self.message_received.emit(payload)

    def answer(self, reply, number=-1):
        self.requests[number][1](reply)

    def request(self, payload, on_reply):
        self.requests.append((payload, on_reply))

    def send_message(self, payload):
        if self.accepts:
            self.sent.append(payload)
        return self.accepts
