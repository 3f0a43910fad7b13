"""A process that was forked, as `multiprocessing` does by itself, from one that has a server and a client.

Each test is a script of its own: pytest's threads and descriptors are none of a fork's business.
"""

import subprocess
import sys

import pytest

PREAMBLE = """
import functools, os, sys, threading
import ipc.socket_server
from ipc import (IpcError, Limits, SocketClient, SocketServer, add_message_handler, broadcast_message, send_message,
                 start_socket_client, start_socket_server, stop_socket_client, stop_socket_server)

ipc.socket_server.Limits = functools.partial(Limits, handshake_s=60.0)  # on a busy machine a hello may take its time
path = sys.argv[1]
server = start_socket_server(path)
client = SocketClient(path)
live, changed, received, gaps = threading.Event(), threading.Condition(), [], []

@client.add_message_handler
def keep(payload):
    with changed:
        received.append(payload["number"])
        changed.notify_all()

def wait_for(*numbers):
    with changed:
        assert changed.wait_for(lambda: len(received) >= len(numbers), 20), received
        assert received == list(numbers), received

client.add_gap_handler(lambda *gap: gaps.append(gap))
client.add_state_handler(lambda state: live.set() if state.kind == "live" else None)
client.start()
assert live.wait(20)
broadcast_message({"number": 1})
wait_for(1)

def in_fork(function):
    pid = os.fork()
    if pid == 0:
        try:
            function()
            os._exit(0)
        except BaseException as error:
            print("in the fork:", repr(error), flush=True)
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0

def refused(function, *arguments):
    try:
        function(*arguments)
    except IpcError as error:
        assert 'get_context("spawn")' in str(error), error
    else:
        raise AssertionError(function)
"""

PROOF = """
broadcast_message({"number": 2})
client.send_message({"number": 1})
wait_for(1, 2)
assert client._hub.all_acknowledged.wait(20)
assert (gaps, client.stats["duplicates"], client.state.kind) == ([], 0, "live")
assert {os.path.basename(path) + end for end in ("", ".key", ".lock")} <= set(os.listdir(os.path.dirname(path)))
client.stop()
stop_socket_server()
assert not os.path.lexists(path)
print("unharmed")
"""

CASES = {
    "what would speak in the parent's name is refused": """
def speak():
    for function, *arguments in (
        (broadcast_message, {"number": 9}), (server.broadcast, {"number": 9}), (server.flush,),
        (server.send, "client-1", {"number": 9}), (server.start,), (start_socket_server, path),
        (client.send_message, {"number": 9}), (client.request, {"type": "x"}), (client.start,),
    ):
        refused(function, *arguments)
in_fork(speak)
""",
    "stopping stops nothing": """
def stop():
    client.stop()
    stop_socket_server()
    server.stop()
    server._endpoint.close()
in_fork(stop)
""",
    "leaving the process runs its exit handlers and stops nothing": """
pid = os.fork()
if pid == 0:
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
""",
    "multiprocessing's own way": """
import multiprocessing
worker = multiprocessing.get_context("fork").Process(target=refused, args=(broadcast_message, {"number": 9}))
worker.start()
worker.join()
assert worker.exitcode == 0
""",
    "it may have a client of its own": """
handled, arrived = [], threading.Event()
add_message_handler(lambda payload: (handled.append(payload["number"]), arrived.set()))
start_socket_client(path)
def talk():
    try:
        send_message({"number": 9})
    except IpcError as error:
        assert "call start_socket_client() first" in str(error), error
    own = start_socket_client(path)
    assert send_message({"number": 7})
    assert own._hub.all_acknowledged.wait(20)
    stop_socket_client()
in_fork(talk)
assert arrived.wait(20)
assert handled == [7], handled
stop_socket_client()
""",
    "what was not running may be started": """
other = SocketServer(path + "2")
own = SocketClient(path + "2")
def run():
    other.broadcast({"number": 1})
    other.start()
    own.start()
    assert own.send_message({})
    assert own._hub.all_acknowledged.wait(20)
    own.stop()
    other.stop()
in_fork(run)
""",
}


@pytest.mark.parametrize("case", CASES)
def test_a_fork_harms_nothing_of_its_parents(socket_path, case):
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + CASES[case] + PROOF, socket_path],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("unharmed\n", "")
