"""Announcing what the outbox holds."""

from structlog.testing import capture_logs

from server_proc.hub import Hub


class FakeServer:
    def __init__(self):
        self.calls = []
        self.error = None
        self.peers = ["a", "b", "c"]

    def start(self):
        self.calls.append("start")

    def stop(self):
        self.calls.append("stop")

    def flush(self):
        if self.error:
            raise self.error
        self.calls.append("flush")


def test_it_says_how_many_clients_there_are():
    assert Hub(FakeServer()).clients == 3


def test_it_has_the_server_send_what_is_there():
    server = FakeServer()
    Hub(server).announce()
    assert server.calls == ["flush"]


def test_a_failed_announcement_is_logged_and_fails_nobody():
    server = FakeServer()
    server.error = OSError("no more descriptors")
    with capture_logs() as logs:
        Hub(server).announce()
    assert [(line["event"], line["log_level"]) for line in logs] == [("announcement_failed", "error")]


def test_it_serves_from_start_to_stop():
    server = FakeServer()
    hub = Hub(server)
    assert not hub.is_serving
    hub.start()
    assert hub.is_serving
    hub.stop()
    assert not hub.is_serving
    assert server.calls == ["start", "stop"]
