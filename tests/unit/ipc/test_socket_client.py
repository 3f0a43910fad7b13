"""The client's face: what it takes, what it refuses, its states, and the one client of a plain script."""

import os
import socket
import sys
import threading

import pytest
import structlog

from ipc import AddressError, AuthkeyError, ClientState, IpcError, Limits, PayloadError, SocketClient, socket_client
from tests.unit.ipc.channel import KEY, WITHIN_S, Arrivals, Listener, eventually, run_together


@pytest.fixture
def plain(request, monkeypatch):
    """The module's functions, as in a program that has just begun."""
    request.getfixturevalue("socket_path")  # what is first there is last removed
    monkeypatch.setattr(socket_client, "_default", None)
    monkeypatch.setattr(socket_client, "_default_handlers", [])
    yield socket_client
    socket_client.stop_socket_client()


def test_a_path_is_checked_before_anything_is_done():
    with pytest.raises(AddressError, match="107 are possible"):
        SocketClient("/tmp/" + "x" * 200)


def test_before_it_is_started_it_is_stopped(socket_path):
    client = SocketClient(socket_path)
    assert client.state == ClientState(kind="stopped", reason="not started")
    assert client.stats["unacknowledged"] == 0


def test_starting_twice_is_starting_once(open_server, open_client):
    open_server()
    listener = open_client().wait_live()
    listener.client.start()
    assert sum(thread.name.startswith("ipc-client") for thread in threading.enumerate()) == 1


def test_messages_before_the_start_wait_for_it(open_server, socket_path):
    handled = Arrivals()
    open_server().add_message_handler(handled)
    listener = Listener(socket_path)
    assert listener.client.send_message({"number": 1})
    assert listener.client.stats["unacknowledged"] == 1
    listener.start()
    assert handled.wait_for(1) == [{"number": 1}]
    eventually(lambda: listener.client.stats["unacknowledged"] == 0)
    listener.client.stop()


@pytest.mark.parametrize("payload", [None, 5, ["list"], {"a": float("nan")}, {1: 2}, {"text": "x" * (1 << 20)}])
def test_what_cannot_travel_is_refused_in_the_caller_and_nothing_breaks(open_server, open_client, payload):
    handled = Arrivals()
    open_server().add_message_handler(handled)
    listener = open_client().wait_live()
    with pytest.raises(PayloadError):
        listener.client.send_message(payload)
    assert listener.client.send_message({"fine": True})
    assert handled.wait_for(1) == [{"fine": True}]
    assert listener.state_kinds == ["connecting", "resuming", "live"]


def test_a_full_outbox_refuses_and_takes_again(open_server, socket_path):
    listener = Listener(socket_path, limits=Limits(outbox_messages=3))
    accepted = [listener.client.send_message({"number": number}) for number in range(5)]
    assert accepted == [True, True, True, False, False]
    handled = Arrivals()
    open_server().add_message_handler(handled)
    listener.start()
    handled.wait_for(3)
    eventually(lambda: listener.client.stats["unacknowledged"] == 0)
    assert listener.client.send_message({"number": 5})
    assert [payload["number"] for payload in handled.wait_for(4)] == [0, 1, 2, 5]
    listener.client.stop()


def test_an_outbox_is_bounded_by_bytes_too(socket_path):
    client = SocketClient(socket_path, limits=Limits(outbox_bytes=5000))
    assert client.send_message({"text": "x" * 3000})
    assert not client.send_message({"text": "x" * 3000})
    assert client.send_message({"text": "x" * 1000})


def test_handlers_get_the_payload_or_the_whole_message(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    payloads = Arrivals()

    @listener.client.add_message_handler
    def handle(payload):
        payloads(payload)

    assert callable(handle)
    server.broadcast({"number": 1})
    assert payloads.wait_for(1) == [{"number": 1}]
    [message] = listener.deliveries.wait_for(1)
    assert (message.seq, message.payload) == (1, {"number": 1})
    assert message.ts > 1_700_000_000


def test_a_handler_that_raises_ends_nothing(log_lines, open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()

    def fail(_anything):
        raise ZeroDivisionError

    listener.client.add_message_handler(fail)
    listener.client.add_state_handler(fail)
    for number in range(10):
        server.broadcast({"number": number})
    listener.deliveries.wait_for(10)
    log_lines.wait_for_event("handler_failed", 10)
    assert listener.state_kinds == ["connecting", "resuming", "live"]


# -- states ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("log_lines")
def test_a_log_that_cannot_be_written_costs_no_message(open_server, socket_path):
    """Not even of those that came together with the one whose handler fails."""

    def choke(_logger, _method, _event):
        raise BrokenPipeError("broken pipe")

    structlog.configure(processors=[choke])
    server = open_server()
    listener = Listener(socket_path)
    is_first, go_on = threading.Event(), threading.Event()

    @listener.client.add_message_handler
    def fail(payload):
        if payload["number"] == 0:
            is_first.set()
            go_on.wait(WITHIN_S)
        if payload["number"] == 3:
            raise ValueError

    listener.start().wait_live()
    server.broadcast({"number": 0})
    assert is_first.wait(WITHIN_S)
    for number in range(1, 10):
        server.broadcast({"number": number})
    go_on.set()
    assert [payload["number"] for payload in listener.wait_for_payloads(10)] == list(range(10))
    assert listener.gaps.items == []
    listener.client.stop()


def test_nobody_there_is_waiting_with_a_reason(socket_path, open_client):
    state = open_client().wait_for_first("waiting")
    assert socket_path in state.reason
    assert "No such file" in state.reason
    assert state.attempt == 1
    assert 0 <= state.retry_in_s <= 0.1


def test_no_key_yet_is_waiting_too(socket_path, open_client):
    state = open_client(authkey=None).wait_for_state("waiting")
    assert state.reason == f"no key file {socket_path}.key: start the server first, or give an authkey"


def test_attempts_are_counted_and_pauses_grow_to_their_limit(open_client):
    listener = open_client(limits=Limits(retry_max_s=0.02))
    states = listener.states.wait_until(lambda states: states and states[-1].attempt >= 12)
    waiting = [state for state in states if state.kind == "waiting"]
    assert [state.attempt for state in waiting] == list(range(1, len(waiting) + 1))
    assert max(state.retry_in_s for state in waiting) <= 0.02


def test_another_key_is_unauthorized_and_the_right_one_would_do(open_server, open_client, log_lines):
    open_server()
    state = open_client(authkey=b"another key of thirty-two bytes!").wait_for_state("unauthorized")
    assert state.reason.startswith("wrong authkey")
    assert log_lines.wait_for_event("peer_rejected")[0]["kind"] == "unauthorized"


@pytest.mark.parametrize("authkey", ["a key of thirty-two characters!!", b"", b"short"])
def test_a_key_that_cannot_be_one_is_refused_at_once(socket_path, authkey):
    with pytest.raises(AuthkeyError, match="authkey: "):
        SocketClient(socket_path, authkey=authkey)


def test_a_key_file_beside_the_socket_is_found_by_both(open_server, open_client, socket_path):
    open_server(authkey=None)
    assert os.path.exists(f"{socket_path}.key")
    open_client(authkey=None).wait_live()


def test_live_tells_whether_something_was_lost(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    assert listener.client.state == ClientState(kind="live", resumed=False)
    server.stop()
    listener.states.wait_until(lambda states: states[-1].kind != "live")
    server.start()
    listener.wait_live()
    assert listener.client.state == ClientState(kind="live", resumed=True)


def test_a_listener_that_never_answers_is_given_up_after_a_while(socket_path, open_client):
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(socket_path)
        listening.listen(1000)  # each attempt leaves a connection in there
        listener = open_client(limits=Limits(connect_s=0.1, retry_max_s=0.01))
        states = listener.states.wait_until(lambda states: any(state.attempt == 2 for state in states))
        assert [state.attempt for state in states if state.kind == "waiting"][:2] == [1, 2]
        listener.client.stop()
    os.unlink(socket_path)
    [reason] = {state.reason for state in listener.states.items if state.kind == "waiting"}
    assert reason == "the handshake took too long"


# -- the one client of a plain script ----------------------------------------------------------------------------------


def test_a_plain_script_has_one_client(plain, open_server, socket_path):
    server = open_server(authkey=None)
    heard, handled = Arrivals(), Arrivals()
    server.add_message_handler(handled)
    plain.add_client_message_handler(lambda payload: heard(("before", payload)))
    client = plain.start_socket_client(socket_path)
    assert plain.start_socket_client(socket_path) is client
    assert plain.start_socket_client() is client
    with pytest.raises(AddressError, match=r"is of .*: call stop_socket_client\(\) first"):
        plain.start_socket_client(socket_path + "2")
    plain.add_client_message_handler(lambda payload: heard(("after", payload)))
    assert plain.send_message("hello")
    assert handled.wait_for(1) == [{"type": "message", "message": "hello"}]
    server.broadcast({"number": 1})
    assert heard.wait_for(2) == [("before", {"number": 1}), ("after", {"number": 1})]
    plain.stop_socket_client()
    plain.stop_socket_client()


def test_a_plain_script_is_told_what_it_has_forgotten(plain):
    with pytest.raises(IpcError, match=r"call start_socket_client\(\) first"):
        plain.send_message("hello")


def test_a_client_in_the_servers_own_process_and_name(open_server, open_client):
    server = open_server()
    open_client(name="kiosk").wait_live()
    [peer] = server.peers
    assert (peer.name, peer.pid) == ("kiosk", os.getpid())
    assert KEY.decode() not in repr(peer)


def test_a_plain_script_has_one_client_whatever_threads_ask_for_it(plain, open_server, socket_path):
    open_server()
    switch_interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(30):
            clients = []
            run_together(*[lambda clients=clients: clients.append(plain.start_socket_client(socket_path))] * 8)
            assert len(set(map(id, clients))) == 1
            plain.stop_socket_client()
    finally:
        sys.setswitchinterval(switch_interval_s)


def test_a_relative_path_stays_what_it_was_when_the_program_goes_elsewhere(open_server, socket_path, monkeypatch):
    monkeypatch.chdir(os.path.dirname(socket_path))
    server = open_server()
    listener = Listener(os.path.basename(socket_path)).start().wait_live()
    monkeypatch.chdir("/")
    server.stop()
    server.start()
    listener.states.wait_until(lambda states: [state.kind for state in states].count("live") >= 2)
    listener.client.stop()


def test_a_frame_limit_that_no_server_accepts_is_refused_at_once(socket_path):
    with pytest.raises(IpcError, match="max_frame_bytes: 1000 is too small for a client; use at least 1024"):
        SocketClient(socket_path, limits=Limits(max_frame_bytes=1000))
