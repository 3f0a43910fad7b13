"""A self-check of the message channel that a person can run: `python tests/test_ipc.py`. pytest collects it too.

It is written against the promised names alone, the way two plain scripts would use them: a server in this process, a
client in another one, each way one message and more.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

try:
    from ipc import SocketClient, SocketServer
except ModuleNotFoundError as error:
    sys.exit(f"{error}; run `make test` once, or use .venv/bin/python")

ANSWER_WITHIN_S = 30.0
BIG_BYTES = 500_000

# What the other process runs: it sends back every message that it is sent, until it is told to go.
ECHOING_CLIENT = """
import sys, threading
from ipc import SocketClient

told_to_go = threading.Event()
client = SocketClient(sys.argv[1], name="echo")

@client.add_message_handler
def echo(payload):
    if payload.get("type") == "go":
        told_to_go.set()
    else:
        client.send_message({"type": "echo", "of": payload})

client.start()
client.send_message("hello")
sys.exit(0 if told_to_go.wait(120) else 1)
"""


class Mailbox:
    """Keeps what a handler is given, in order, and lets a thread wait for the next."""

    def __init__(self) -> None:
        self.payloads: list[dict[str, Any]] = []
        self._arrived = threading.Condition()

    def __call__(self, payload: dict[str, Any]) -> None:
        with self._arrived:
            self.payloads.append(payload)
            self._arrived.notify_all()

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """Return the first `count` payloads once they are here; fewer if they do not come."""
        with self._arrived:
            self._arrived.wait_for(lambda: len(self.payloads) >= count, ANSWER_WITHIN_S)
            return self.payloads[:count]


class Channel:
    """A server in this process with an echoing client in another."""

    def __init__(self, directory: str) -> None:
        self.path = str(Path(directory) / "self-check.sock")
        self.mailbox = Mailbox()
        self.server = SocketServer(self.path)
        self.server.add_message_handler(self.mailbox)

    def __enter__(self) -> "Channel":
        self.server.start()
        command = [sys.executable, "-c", ECHOING_CLIENT, self.path]
        self._client = subprocess.Popen(command, cwd=Path(__file__).resolve().parents[1])
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.server.broadcast({"type": "go"})
            self._client.wait(ANSWER_WITHIN_S)
        finally:
            self._client.kill()
            self._client.wait()
            self.server.stop()


def check_both_ways(channel: Channel) -> None:
    """text and dicts arrive, in both directions, as what they were"""
    payload = {"type": "attendance", "personId": "12345", "nested": {"list": [1, 2.5, None, True, "ü"]}}
    assert channel.mailbox.wait_for(1) == [{"type": "message", "message": "hello"}]
    assert channel.server.broadcast("text") == 1
    assert channel.server.broadcast(payload) == 1
    echoes = channel.mailbox.wait_for(3)[1:]
    assert [echo["of"] for echo in echoes] == [{"type": "message", "message": "text"}, payload]


def check_back_to_back(channel: Channel) -> None:
    """messages sent back to back arrive one by one, in order"""
    channel.mailbox.wait_for(1)
    for number in range(1000):
        channel.server.broadcast({"number": number})
    echoes = channel.mailbox.wait_for(1001)[1:]
    assert [echo["of"]["number"] for echo in echoes] == list(range(1000))


def check_big_message(channel: Channel) -> None:
    """a message of 500 kB arrives whole"""
    channel.mailbox.wait_for(1)
    big = {"text": "x" * BIG_BYTES}
    channel.server.broadcast(big)
    assert channel.mailbox.wait_for(2)[1]["of"] == big


def check_reconnect(channel: Channel) -> None:
    """a client comes back by itself when the server does"""
    channel.mailbox.wait_for(1)
    live, back = threading.Event(), threading.Event()
    client = SocketClient(channel.path, name="patient")
    client.add_state_handler(lambda state: live.set() if state.kind == "live" else None)
    client.add_message_handler(lambda payload: back.set() if payload == {"again": True} else None)
    client.start()
    try:
        assert live.wait(ANSWER_WITHIN_S)
        channel.server.stop()
        channel.server.start()
        channel.server.broadcast({"again": True})
        assert back.wait(ANSWER_WITHIN_S)
    finally:
        client.stop()


CHECKS: list[Callable[[Channel], None]] = [check_both_ways, check_back_to_back, check_big_message, check_reconnect]


def _run(check: Callable[[Channel], None]) -> None:
    with tempfile.TemporaryDirectory() as directory, Channel(directory) as channel:
        check(channel)


def test_both_ways() -> None:
    _run(check_both_ways)


def test_back_to_back() -> None:
    _run(check_back_to_back)


def test_big_message() -> None:
    _run(check_big_message)


def test_reconnect() -> None:
    _run(check_reconnect)


def main() -> int:
    """Run every check, say how it went, and return 0 if all went well."""
    failed = 0
    for check in CHECKS:
        try:
            _run(check)
        except AssertionError as error:
            failed += 1
            print(f"FAILED  {check.__doc__}  {error}")
        else:
            print(f"ok      {check.__doc__}")
    print(f"{len(CHECKS) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
