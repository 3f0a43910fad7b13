"""Where log lines go, and what they never show."""

import subprocess
import sys

import pytest
import structlog

from ipc.logs import SafeLogger, get_logger

SCRIPT = """
import sys, threading
from ipc import SocketClient, SocketServer

path, what = sys.argv[1:]
server, client = SocketServer(path), SocketClient(path)
live, failed, waiting = threading.Event(), threading.Event(), threading.Event()

@client.add_message_handler
def fail(payload):
    failed.set()
    raise ValueError("broken handler")

@server.on_request("ask")
def refuse(payload):
    raise ValueError("broken answer")

client.add_state_handler(lambda state: live.set() if state.kind == "live" else None)
client.add_state_handler(lambda state: waiting.set() if state.kind == "waiting" else None)
if what == "client fails":
    def break_down(*arguments):
        raise ValueError("broken client")
    client._live_once = break_down
server.start()
client.start()
if what == "client fails":
    assert waiting.wait(40)
else:
    assert live.wait(40)
    server.broadcast({"personId": "the secret of Ada"})
    assert failed.wait(40)
    try:
        client.request({"type": "ask", "personId": "the secret of Ada"}, timeout_s=40)
    except Exception as error:
        assert "broken answer" in str(error)
client.stop()
with open(path + ".key") as file:
    print(file.read().strip())
server.stop()
"""


@pytest.mark.parametrize("what", ["handlers fail", "client fails"])
def test_a_plain_script_shows_warnings_on_stderr_and_neither_keys_nor_payloads(socket_path, what):
    """Tracebacks too: they show code, not the values in it."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, socket_path, what], capture_output=True, text=True, timeout=100, check=True
    )
    key = done.stdout.strip()
    assert len(key) == 64
    assert ("broken handler" in done.stderr) == (what == "handlers fail")
    assert ("broken client" in done.stderr) == (what == "client fails")
    assert "Traceback" in done.stderr
    assert "secret of Ada" not in done.stderr
    assert key not in done.stderr
    assert repr(bytes.fromhex(key)) not in done.stderr
    assert "peer_joined" not in done.stderr  # that is information, no warning


def test_a_program_that_has_set_up_structlog_gets_everything_there(log_lines):
    assert structlog.is_configured()
    get_logger().bind(channel="x").info("something_happened", number=1)
    assert log_lines.items == [{"level": "info", "event": "something_happened", "number": 1, "channel": "x"}]


def test_a_line_that_cannot_be_written_raises_nothing():
    """The reader of the log is gone, or a processor of the program's chokes."""
    written = []

    def choke(_logger, method, _event):
        written.append(method)
        raise BrokenPipeError("broken pipe")

    logger = SafeLogger(structlog.wrap_logger(None, processors=[choke])).bind(channel="x")
    logger.info("something_happened")
    logger.bind(peer="y").error("something_failed", exc_info=True)
    assert written == ["info", "error"]


def test_what_a_logger_cannot_do_at_all_is_an_error():
    with pytest.raises(AttributeError):
        SafeLogger(object()).is_enabled_for(20)
