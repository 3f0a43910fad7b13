"""The server's face: what it takes, what it refuses, and the one server of a plain script."""

import os
import socket
import threading
from multiprocessing.connection import Client

import pytest

from ipc import (
    AddressError,
    AlreadyRunningError,
    AuthkeyError,
    IpcError,
    Limits,
    PayloadError,
    SocketServer,
    socket_server,
)
from ipc.endpoint import bind_listener
from tests.unit.ipc.channel import KEY, Arrivals, thread_names, unhurried


@pytest.fixture
def plain(request, monkeypatch):
    """The module's functions, as in a program that has just begun."""
    request.getfixturevalue("socket_path")  # what is first there is last removed
    monkeypatch.setattr(socket_server, "_default", None)
    monkeypatch.setattr(socket_server, "_default_handlers", [])
    yield socket_server
    socket_server.stop_socket_server()


def test_a_path_is_checked_before_anything_is_done():
    with pytest.raises(AddressError, match="107 are possible"):
        SocketServer("/tmp/" + "x" * 200)


@pytest.mark.parametrize("key", [b"short", "text that is long enough to be a key"])
def test_a_key_is_checked_at_start(socket_path, key):
    server = SocketServer(socket_path, authkey=key)
    with pytest.raises(AuthkeyError):
        server.start()
    server.stop()


def test_a_second_server_is_told_who_was_first(open_server, socket_path):
    open_server()
    with pytest.raises(AlreadyRunningError) as caught:
        SocketServer(socket_path, authkey=KEY).start()
    assert caught.value.pid == os.getpid()


def test_starting_twice_is_starting_once(open_server):
    server = open_server()
    server.start()
    assert sum(thread.name == "ipc-accept" for thread in threading.enumerate()) == 1


def test_what_sends_the_end_of_a_burst_is_there_before_the_first_one(open_server):
    open_server()
    assert thread_names("ipc-flusher") == ["ipc-flusher-server"]


def test_broadcast_returns_how_many_are_connected(open_server, open_client):
    server = open_server()
    assert server.broadcast("nobody") == 0
    open_client(name="first").wait_live()
    assert server.broadcast("one") == 1
    open_client(name="second").wait_live()
    assert server.broadcast("two") == 2


@pytest.mark.parametrize("payload", [None, 5, ["list"], {"a": float("nan")}, {1: 2}, {"text": "x" * 2000}])
def test_what_cannot_travel_is_refused_in_the_caller_and_disconnects_nobody(open_server, open_client, payload):
    server = open_server(limits=unhurried(max_frame_bytes=1000))
    listener = open_client().wait_live()
    with pytest.raises(PayloadError):
        server.broadcast(payload)
    with pytest.raises(PayloadError):
        server.send("anybody", payload)
    server.broadcast({"fine": True})
    assert listener.wait_for_payloads(1) == [{"fine": True}]
    assert listener.seqs == [1]


def test_text_is_wrapped(open_server, open_client):
    server = open_server()
    listener = open_client().wait_live()
    server.broadcast("hello")
    assert listener.wait_for_payloads(1) == [{"type": "message", "message": "hello"}]


def test_handlers_are_functions_and_decorators(open_server, open_client):
    server = open_server()
    with pytest.raises(TypeError):
        server.add_message_handler("print")
    handled = Arrivals()

    @server.add_message_handler
    def handle(payload):
        handled(payload)

    assert callable(handle)
    open_client().client.send_message("hello")
    assert handled.wait_for(1) == [{"type": "message", "message": "hello"}]


def test_the_stock_client_can_connect_and_talk(open_server, socket_path):
    server = open_server()
    handled = Arrivals()
    server.add_message_handler(handled)
    with Client(socket_path, "AF_UNIX", authkey=KEY) as client:
        client.send_bytes(b'{"op":"hello","protocol":1,"client":"stock"}')
        assert b'"op":"welcome"' in client.recv_bytes()
        server.broadcast({"number": 1})
        assert b'"number":1' in client.recv_bytes()
        client.send_bytes(b'{"op":"message","id":1,"payload":{"number":2}}')
        assert handled.wait_for(1) == [{"number": 2}]


def test_a_listener_that_somebody_else_has_bound_is_used_and_left_alone(socket_path, open_client):
    bound = bind_listener(socket_path, KEY)
    try:
        for number in range(3):
            server = SocketServer(socket_path, listener=bound.listener, authkey=KEY, limits=unhurried())
            server.start()
            listener = open_client().wait_live()
            server.broadcast({"number": number})
            listener.deliveries.wait_for(1)
            listener.client.stop()
            server.stop()
            assert os.path.exists(socket_path)
            with socket.socket(socket.AF_UNIX) as waiting:
                waiting.connect(socket_path)  # the backlog is still there
    finally:
        bound.close()


def test_two_servers_take_turns_at_one_listener_and_the_client_hardly_notices(socket_path, open_client):
    """As when a crashed server is replaced: the client waits in the backlog meanwhile."""
    bound = bind_listener(socket_path, KEY)
    listener = open_client(limits=Limits(retry_max_s=0.01))
    try:
        for number in range(1, 4):
            server = SocketServer(socket_path, listener=bound.listener, authkey=KEY, limits=unhurried())
            server.start()
            listener.states.wait_until(
                lambda states, number=number: [state.kind for state in states].count("live") >= number
            )
            server.broadcast({"server": number})
            listener.deliveries.wait_for(number)
            server.stop()
        reasons = {state.reason for state in listener.states.items if state.kind == "waiting"}
        assert reasons <= {"the server stops", "connection closed"}  # and never "connection refused"
    finally:
        listener.client.stop()
        bound.close()


# -- the one server of a plain script ----------------------------------------------------------------------------------


def test_a_plain_script_has_one_server(plain, socket_path, open_client):
    handled = Arrivals()
    plain.add_message_handler(lambda payload: handled(("before", payload)))
    server = plain.start_socket_server(socket_path)
    assert plain.start_socket_server(socket_path) is server
    assert plain.start_socket_server() is server
    with pytest.raises(AddressError, match=r"is at .*: call stop_socket_server\(\) first"):
        plain.start_socket_server(socket_path + "2")
    plain.add_message_handler(lambda payload: handled(("after", payload)))
    listener = open_client(authkey=None).wait_live()
    assert plain.broadcast_message("hello") == 1
    assert listener.wait_for_payloads(1) == [{"type": "message", "message": "hello"}]
    listener.client.send_message({"number": 1})
    assert handled.wait_for(2) == [("before", {"number": 1}), ("after", {"number": 1})]
    plain.stop_socket_server()
    plain.stop_socket_server()


def test_a_plain_script_is_told_what_it_has_forgotten(plain):
    with pytest.raises(IpcError, match=r"call start_socket_server\(\) first"):
        plain.broadcast_message("hello")


def test_a_plain_script_whose_server_cannot_start_can_try_again(plain, socket_path):
    with open(socket_path, "w"), pytest.raises(AddressError):
        plain.start_socket_server(socket_path)
    os.unlink(socket_path)
    plain.start_socket_server(socket_path)
