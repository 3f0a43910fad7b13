"""The package's face: every promised name is there, and Qt is not until it is asked for."""

import subprocess
import sys

import pytest

import ipc

PROMISED = [
    "SocketServer",
    "SocketClient",
    "SocketManager",
    "DEFAULT_SOCKET_PATH",
    "start_socket_server",
    "stop_socket_server",
    "broadcast_message",
    "add_message_handler",
    "start_socket_client",
    "stop_socket_client",
    "send_message",
    "add_client_message_handler",
]


@pytest.mark.parametrize("name", [*PROMISED, *ipc.__all__])
def test_a_promised_name_is_there(name):
    assert name in ipc.__all__
    assert getattr(ipc, name) is not None


def test_another_name_is_not():
    with pytest.raises(AttributeError, match="module 'ipc' has no attribute 'SocketManger'"):
        _ = ipc.SocketManger


def test_the_default_path():
    assert ipc.DEFAULT_SOCKET_PATH == "/tmp/axon-attendance.sock"


def test_qt_is_imported_by_nobody_but_the_manager():
    code = """
import sys
import ipc, ipc.socket_client, ipc.socket_server
assert not [name for name in sys.modules if name.startswith("PySide6")]
ipc.SocketManager
assert [name for name in sys.modules if name.startswith("PySide6")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
