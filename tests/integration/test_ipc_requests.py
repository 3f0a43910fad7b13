"""Requests: each ends by a reply, a typed error or its deadline, and the connection lives on."""

import asyncio
import threading
import time

import pytest

from ipc import IpcError, Limits, PayloadError, RequestError
from tests.unit.ipc.channel import QUICK, WITHIN_S, Arrivals, Listener, eventually, run_together, thread_names, time_of
from tests.unit.ipc.cutting_proxy import CuttingProxy


@pytest.fixture
def server(open_server):
    server = open_server()
    server.on_request("double")(lambda payload: {"twice": 2 * payload["number"]})
    return server


@pytest.fixture
def client(server, open_client):
    assert server.stats["peers"] == 0
    return open_client().wait_live().client


def refusal(client, payload, timeout_s=WITHIN_S):
    """Return the error with which a request ends."""
    with pytest.raises(RequestError) as caught:
        client.request(payload, timeout_s=timeout_s)
    assert client.request({"type": "double", "number": 4}, timeout_s=WITHIN_S) == {"twice": 8}  # it lives on
    return caught.value


def test_a_reply(client):
    assert client.request({"type": "double", "number": 21}, timeout_s=WITHIN_S) == {"twice": 42}


def test_a_request_before_the_first_connection_waits_for_it(server, open_client):
    assert open_client().client.request({"type": "double", "number": 1}, timeout_s=WITHIN_S) == {"twice": 2}
    assert server.stats["rejected"] == {}


def test_many_threads_get_their_own_replies(client):
    def ask(first):
        for number in range(first, first + 100):
            assert client.request({"type": "double", "number": number}, timeout_s=WITHIN_S) == {"twice": 2 * number}

    run_together(*(lambda first=first: ask(first) for first in range(0, 1600, 100)))


def test_what_a_handler_raises_is_an_error_at_the_caller_and_a_traceback_at_the_server(log_lines, server, client):
    @server.on_request("fail")
    def fail(payload):
        raise KeyError(payload["type"])

    error = refusal(client, {"type": "fail"})
    assert (error.code, error.message) == ("handler_failed", "KeyError: 'fail'")
    [line] = log_lines.named("request_failed")
    assert line["exc_info"]
    assert line["level"] == "error"


def test_a_typed_error_of_the_application_arrives_as_it_is(log_lines, server, client):
    @server.on_request("refuse")
    def refuse(_payload):
        raise RequestError("no_such_person", "12345 is not known")

    error = refusal(client, {"type": "refuse"})
    assert (error.code, error.message) == ("no_such_person", "12345 is not known")
    assert log_lines.named("request_failed") == []


@pytest.mark.parametrize("payload", [{"type": "unheard of"}, {"type": 5}, {"type": None}, {}, {"type": ["double"]}])
def test_a_request_that_nobody_answers_is_unknown(client, payload):
    assert refusal(client, payload).code == "unknown_request"


def test_a_reply_that_is_too_large_says_so(log_lines, server, client):
    server.on_request("big")(lambda _payload: {"text": "x" * (2 << 20)})
    assert refusal(client, {"type": "big"}).code == "reply_too_large"
    assert log_lines.items


@pytest.mark.parametrize("reply", [None, [], "text", {"a": float("nan")}, {1: 2}, {"a": object()}])
def test_a_reply_that_is_no_payload_is_the_handlers_failure(log_lines, server, client, reply):
    server.on_request("odd")(lambda _payload: reply)
    error = refusal(client, {"type": "odd"})
    assert error.code == "handler_failed"
    assert error.message.startswith("PayloadError: ")
    assert log_lines.named("request_failed")


def test_an_error_with_odd_text_arrives(log_lines, server, client):
    @server.on_request("odd")
    def fail(_payload):
        raise ValueError("lone \ud800 and long " + "x" * 10_000)

    error = refusal(client, {"type": "odd"})
    assert error.message.startswith("ValueError: lone ? and long")
    assert len(error.message) <= 1000
    assert log_lines.items


def test_an_exit_in_a_handler_is_its_failure_and_nobody_elses(log_lines, server, client):
    @server.on_request("exit")
    def leave(_payload):
        raise SystemExit(1)

    assert refusal(client, {"type": "exit"}).code == "handler_failed"
    assert log_lines.items


@pytest.mark.usefixtures("log_lines")
def test_a_cancellation_in_a_handler_is_its_failure_and_nobody_elses(server, client):
    @server.on_request("cancel")
    def cancel(_payload):
        raise asyncio.CancelledError

    assert refusal(client, {"type": "cancel"}).code == "handler_failed"
    assert server.stats["rejected"] == {}


class Mute(Exception):
    def __str__(self):
        raise ValueError("it cannot even be shown")


class Late(RequestError):
    def __init__(self):
        super().__init__("x", "y")
        self.code = 503  # type: ignore[assignment]


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (RequestError(404, "not found"), "404", "not found"),  # type: ignore[arg-type]
        (RequestError("x", None), "x", "None"),  # type: ignore[arg-type]
        (RequestError("x\ud800", "m"), "x?", "m"),
        (RequestError("c" * 5000, "m"), "c" * 1000, "m"),
        (RequestError("x", Mute()), "x", "<Mute without a text>"),  # type: ignore[arg-type]
        (Late(), "503", "y"),
        (Mute(), "handler_failed", "Mute: <Mute without a text>"),
    ],
)
def test_whatever_a_handler_says_of_its_error_arrives_as_an_error(log_lines, server, client, raised, code, message):
    @server.on_request("odd")
    def fail(_payload):
        raise raised

    error = refusal(client, {"type": "odd"})
    assert (error.code, error.message) == (code, message)
    assert server.stats["rejected"] == {}
    assert log_lines.named("peer_left") == []


def test_a_request_in_a_handler_that_has_restarted_its_client_is_refused(server):
    """The handler still runs on a thread of the client, for whose end the new one waits."""
    outcomes = Arrivals()
    listener = Listener(server.address, limits=QUICK)

    @listener.client.add_message_handler
    def ask(_payload):
        listener.client.stop()
        listener.client.start()
        with pytest.raises(IpcError, match="use begin_request"):
            listener.client.request({"type": "double", "number": 1}, timeout_s=WITHIN_S)
        outcomes("refused")

    listener.start().wait_live()
    server.broadcast("now")
    outcomes.wait_for(1)
    listener.client.stop()


def test_a_payload_that_cannot_travel_is_refused_in_the_caller(client):
    with pytest.raises(PayloadError, match=r"payload\.number: nan"):
        client.request({"type": "double", "number": float("nan")}, timeout_s=WITHIN_S)
    with pytest.raises(PayloadError):
        client.request({"type": "double", "text": "x" * (1 << 20)}, timeout_s=WITHIN_S)
    assert client.request({"type": "double", "number": 1}, timeout_s=WITHIN_S) == {"twice": 2}


@pytest.mark.parametrize("timeout_s", [0.0, 0.05, 0.3])
def test_the_deadline(server, client, timeout_s):
    gate = threading.Event()

    @server.on_request("wait")
    def wait(_payload):
        gate.wait(WITHIN_S)
        return {"late": True}

    began = time.monotonic()
    with pytest.raises(RequestError) as caught:
        client.request({"type": "wait"}, timeout_s=timeout_s)
    assert caught.value.code == "timeout"
    assert timeout_s <= time.monotonic() - began < 4.5  # not the 5 s that it has otherwise
    gate.set()
    # The late reply went nowhere.
    assert client.request({"type": "double", "number": 4}, timeout_s=WITHIN_S) == {"twice": 8}


def test_the_deadline_also_without_a_server(open_client):
    began = time.monotonic()
    with pytest.raises(RequestError) as caught:
        open_client().client.request({"type": "double"}, timeout_s=0.2)
    assert caught.value.code == "timeout"
    assert time.monotonic() - began < 4.5


def test_no_deadline_at_all(client):
    assert client.request({"type": "double", "number": 1}, timeout_s=float("inf")) == {"twice": 2}


def test_a_request_in_a_handler_is_refused(server, open_client):
    """It would wait for its own thread."""
    listener = open_client().wait_live()
    refused = Arrivals()

    @listener.client.add_message_handler
    def ask(_payload):
        with pytest.raises(IpcError, match="begin_request") as caught:
            listener.client.request({"type": "double", "number": 1}, timeout_s=WITHIN_S)
        refused(caught.value)

    server.broadcast("go")
    refused.wait_for(1)


def test_a_request_begun_in_a_handler_is_answered(server, open_client):
    listener = open_client().wait_live()
    outcome = Arrivals()
    listener.client.add_message_handler(
        lambda payload: listener.client.begin_request({"type": "double", "number": payload["number"]}, outcome)
    )
    for number in range(100):
        server.broadcast({"number": number})
    assert outcome.wait_for(100) == [{"twice": 2 * number} for number in range(100)]


def test_a_handler_may_broadcast_and_answer(server, open_client):
    listener = open_client().wait_live()

    @server.on_request("announce")
    def announce(payload):
        return {"clients": server.broadcast({"announced": payload["what"]})}

    assert listener.client.request({"type": "announce", "what": "tea"}, timeout_s=WITHIN_S) == {"clients": 1}
    assert listener.wait_for_payloads(1) == [{"announced": "tea"}]


def test_messages_and_requests_are_handled_in_the_order_in_which_they_were_sent(server, client):
    handled = []
    server.add_message_handler(lambda payload: handled.append(payload["number"]))
    server.on_request("number")(lambda payload: {"before": handled.append(payload["number"]) or len(handled)})
    for number in range(0, 300, 3):
        client.send_message({"number": number})
        client.send_message({"number": number + 1})
        assert client.request({"type": "number", "number": number + 2}, timeout_s=WITHIN_S) == {"before": number + 3}
    assert handled == list(range(300))


def test_a_request_whose_connection_breaks_while_it_is_handled(open_server, socket_dir, socket_path):
    """The server has taken it, so it is not repeated: that might do a thing twice."""
    server = open_server()
    proxy = CuttingProxy(str(socket_dir / "p.sock"), socket_path)
    listener = Listener(proxy.path, limits=QUICK).start().wait_live()
    entered, gate = Arrivals(), threading.Event()

    @server.on_request("wait")
    def wait(_payload):
        entered(1)
        gate.wait(WITHIN_S)
        return {"done": True}

    outcome = Arrivals()
    try:
        listener.client.begin_request({"type": "wait"}, outcome)
        entered.wait_for(1)
        proxy.cut()
        gate.set()
        [error] = outcome.wait_for(1)
        assert error.code == "disconnected"
        assert len(entered.items) == 1
    finally:
        gate.set()
        listener.client.stop()
        proxy.close()


def test_a_request_whose_server_restarts_is_asked_again_of_the_new_one(open_client, server):
    listener = open_client().wait_live()
    server.stop()
    outcome = Arrivals()
    listener.client.begin_request({"type": "double", "number": 3}, outcome)
    server.start()
    assert outcome.wait_for(1) == [{"twice": 6}]


def test_stop_ends_requests_that_wait(server, open_client):
    client = open_client().wait_live().client
    gate = threading.Event()
    entered = Arrivals()

    @server.on_request("wait")
    def wait(_payload):
        entered(1)
        gate.wait(WITHIN_S)
        return {}

    errors, outcome = Arrivals(), Arrivals()

    def ask():
        try:
            client.request({"type": "wait"}, timeout_s=WITHIN_S)
        except RequestError as error:
            errors(error)

    thread = threading.Thread(target=ask)
    thread.start()
    entered.wait_for(1)
    client.begin_request({"type": "wait"}, outcome)
    assert time_of(client.stop) < 1.5
    thread.join()
    gate.set()
    assert [error.code for error in errors.items + outcome.items] == ["stopped", "stopped"]


def test_a_request_of_a_full_outbox_is_refused_at_once(open_client):
    client = open_client(limits=Limits(outbox_messages=2)).client
    assert client.send_message({})
    assert client.send_message({})
    assert not client.send_message({})
    with pytest.raises(RequestError) as caught:
        client.request({"type": "double"}, timeout_s=WITHIN_S)
    assert caught.value.code == "outbox_full"
    assert caught.value.message == "2 messages wait for the server; ask again when it has had some"


def test_a_cancelled_request_ends_silently(server, client):
    gate = threading.Event()
    server.on_request("wait")(lambda _payload: {"waited": gate.wait(WITHIN_S)})
    outcome = Arrivals()
    number = client.begin_request({"type": "wait"}, outcome)
    assert client.cancel_request(number)
    assert not client.cancel_request(number)
    gate.set()
    assert client.request({"type": "double", "number": 1}, timeout_s=WITHIN_S) == {"twice": 2}
    assert outcome.items == []


@pytest.mark.usefixtures("server")
def test_what_on_reply_raises_ends_nothing_else(log_lines, open_client):
    listener = open_client().wait_live()

    def fail(_outcome):
        raise ZeroDivisionError("in on_reply")

    listener.client.begin_request({"type": "double", "number": 1}, fail)
    assert listener.client.request({"type": "double", "number": 2}, timeout_s=WITHIN_S) == {"twice": 4}
    assert listener.state_kinds == ["connecting", "resuming", "live"]
    assert [line for line in log_lines.items if line["level"] in ("error", "critical")]


def test_a_hung_handler_is_not_multiplied_by_a_client_that_comes_back(open_server, socket_path):
    """While one message is handled, the same client's newer connections wait; they must not pile up."""
    server = open_server()
    entered, gate = Arrivals(), threading.Event()

    @server.add_message_handler
    def hang(_payload):
        entered(1)
        gate.wait(100)

    limits = Limits(connect_s=0.3, retry_max_s=0.01, heartbeat_s=0.1)
    listener = Listener(socket_path, limits=limits).start().wait_live()
    try:
        listener.client.send_message("hang")
        entered.wait_for(1)
        for peer in server._hub.peers:
            peer.end("as if the connection had broken")
        listener.states.wait_until(lambda states: [state.kind for state in states].count("waiting") >= 8)
        eventually(lambda: len(thread_names("ipc-peer")) <= 3)
    finally:
        gate.set()
        listener.client.stop()
    assert len(entered.items) == 1


def test_a_handler_knows_whom_it_answers_and_can_send_to_that_client_alone(server, open_client):
    first, second = open_client(name="first").wait_live(), open_client(name="second").wait_live()

    @server.on_request("follow")
    def follow(_payload):
        assert server.send(server.asking_peer, {"for": server.asking_peer.split("-")[0]})
        return {}

    assert server.asking_peer == "", "this thread handles nothing"
    for each in (first, second):
        each.client.request({"type": "follow"}, timeout_s=WITHIN_S)
    assert first.wait_for_payloads(1) == [{"for": "first"}]
    assert second.wait_for_payloads(1) == [{"for": "second"}]
