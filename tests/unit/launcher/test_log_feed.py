"""Who asked for the log gets it, at its own pace, and is told what it missed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from ipc import RequestError
from ipc.protocol import encode_payload
from launcher.log_feed import Followers, LogFeed
from launcher.log_ring import LogRing
from tests.unit.ipc.channel import eventually


class Clients:
    """Clients that have read everything, unless their number in `waiting` says otherwise."""

    def __init__(self) -> None:
        self.ring = LogRing(max_lines=100)
        self.waiting = {"a": 0, "b": 0}
        self.sent: dict[str, list[dict[str, Any]]] = {"a": [], "b": []}
        self.has_sent = threading.Semaphore(0)
        self.feed = LogFeed(self.ring, Followers(send=self._send, waiting=lambda: dict(self.waiting)))

    def _send(self, peer: str, payload: dict[str, Any]) -> bool:
        encode_payload(payload)
        self.sent[peer].append(payload)
        self.has_sent.release()
        return True

    def log(self, *numbers: int) -> None:
        self.ring.put([b'{"event":"n","n":%d}' % number for number in numbers])

    def numbers(self, peer: str, count: int) -> list[int]:
        """Wait until a peer has been sent so many events, and return them."""
        while len(found := [event["n"] for message in self.sent[peer] for event in message["events"]]) < count:
            assert self.has_sent.acquire(timeout=10), found
        return found


@pytest.fixture
def clients() -> Iterator[Clients]:
    it = Clients()
    yield it
    it.feed.close()


def test_the_last_lines_come_first_and_then_what_follows(clients: Clients) -> None:
    clients.log(1, 2, 3)
    assert clients.feed.follow("a", {"lines": 2}) == {"type": "accepted", "seq": 3}
    assert clients.numbers("a", 2) == [2, 3]
    clients.log(4)

    assert clients.numbers("a", 3) == [2, 3, 4]
    assert [message["seq"] for message in clients.sent["a"]] == [3, 4]
    assert clients.sent["b"] == [], "it has not asked"


@pytest.mark.parametrize("lines", [-1, "many", 1.5, True, None])
def test_a_number_of_lines_is_needed(clients: Clients, lines: object) -> None:
    with pytest.raises(RequestError, match="lines: a number"):
        clients.feed.follow("a", {"lines": lines})


def test_more_than_there_is_is_all_there_is(clients: Clients) -> None:
    clients.log(*range(150))
    clients.feed.follow("a", {"lines": 10**9})

    assert clients.numbers("a", 100) == list(range(50, 150))
    assert clients.sent["a"][0]["missed"] == 0


def test_none_of_the_past_is_an_answer_too(clients: Clients) -> None:
    clients.log(1)
    clients.feed.follow("a", {"lines": 0})
    clients.log(2)

    assert clients.numbers("a", 1) == [2]


def test_a_slow_client_holds_up_nobody_and_learns_what_it_missed(clients: Clients) -> None:
    clients.waiting["a"] = 1
    clients.feed.follow("a", {"lines": 0})
    clients.feed.follow("b", {"lines": 0})
    for number in range(300):
        clients.log(number)
        clients.numbers("b", 1)
    assert clients.sent["a"] == []
    clients.waiting["a"] = 0

    assert clients.numbers("a", 100)[:100] == list(range(200, 300))
    assert clients.sent["a"][0]["missed"] == 200


def test_a_client_that_is_gone_is_forgotten_and_the_thread_with_the_last_one(clients: Clients) -> None:
    clients.log(1)
    clients.feed.follow("a", {"lines": 1})
    clients.numbers("a", 1)
    thread = clients.feed._thread
    assert thread is not None
    del clients.waiting["a"]
    clients.log(2)
    thread.join(10)

    assert not thread.is_alive()
    clients.feed.follow("b", {"lines": 1})
    assert clients.numbers("b", 1) == [2]


def test_a_client_that_comes_while_it_is_looked_who_is_there_is_not_forgotten(clients: Clients) -> None:
    """It may ask for the log between the look at who is there and what is made of that."""
    clients.feed.follow("a", {"lines": 0})
    del clients.waiting["b"]
    is_looking, has_followed = threading.Event(), threading.Event()

    def waiting() -> dict[str, int]:
        found = dict(clients.waiting)
        if "b" not in found:
            is_looking.set()
            has_followed.wait(0.2)  # no longer: it is to wait for us
        return found

    def come() -> None:
        assert is_looking.wait(10)
        clients.waiting["b"] = 0
        clients.feed.follow("b", {"lines": 0})
        has_followed.set()

    clients.feed._followers = Followers(send=clients._send, waiting=waiting)
    coming = threading.Thread(target=come)
    coming.start()
    clients.log(1)
    coming.join()
    clients.log(2)

    assert clients.numbers("b", 1)[-1] == 2


def test_what_was_logged_last_is_sent_at_the_end(clients: Clients) -> None:
    clients.feed.follow("a", {"lines": 0})
    clients.log(1)
    clients.feed.close()

    assert clients.numbers("a", 1) == [1]
    with pytest.raises(RequestError, match="stopping"):
        clients.feed.follow("a", {})


def test_an_event_that_is_nested_too_deeply_is_sent_as_text(clients: Clients) -> None:
    clients.ring.put([b'{"event":"n","n":1,"deep":%b}' % (b"[" * 500 + b"]" * 500)])
    clients.feed.follow("a", {"lines": 1})
    clients.has_sent.acquire(timeout=10)

    (event,) = clients.sent["a"][0]["events"]
    assert event["deep"].startswith("[[[")


def test_a_bug_costs_those_who_follow_now_and_not_those_who_ask_later(clients: Clients) -> None:
    clients.ring.put([b"not JSON"])
    with capture_logs() as said:
        clients.feed.follow("a", {"lines": 1})
        eventually(lambda: clients.feed._thread is None)
    clients.log(1)
    clients.feed.follow("a", {"lines": 1})

    assert clients.numbers("a", 1) == [1]
    assert [line["event"] for line in said] == ["log_feed_failed"]
