"""Real-time JSON messages between processes of one machine, over a Unix socket; nothing is lost over a reconnect.

In one process `start_socket_server()` and `broadcast_message({...})`, in another `start_socket_client()` and
`add_client_message_handler(print)`. The classes behind them take another path, a key and limits. `SocketManager` is
the client for Qt programs; PySide6 is imported only when it is asked for.
"""

from typing import TYPE_CHECKING, Any

from ipc.child import EXIT_SETUP, ChildContext, ChildSettings, ChildSetupError
from ipc.client_state import ClientState
from ipc.endpoint import DEFAULT_SOCKET_PATH
from ipc.errors import (
    AddressError,
    AlreadyRunningError,
    AuthkeyError,
    IpcError,
    PayloadError,
    ProtocolError,
    RequestError,
)
from ipc.limits import Limits
from ipc.message_log import MemoryLog, MessageLog
from ipc.peer import PeerInfo
from ipc.protocol import Message, Payload
from ipc.sequence import Lapped
from ipc.socket_client import (
    SocketClient,
    add_client_message_handler,
    send_message,
    start_socket_client,
    stop_socket_client,
)
from ipc.socket_server import (
    SocketServer,
    add_message_handler,
    broadcast_message,
    start_socket_server,
    stop_socket_server,
)

if TYPE_CHECKING:
    from ipc.socket_manager import SocketManager

__all__ = [
    "DEFAULT_SOCKET_PATH", "SocketServer", "SocketClient", "SocketManager",
    "start_socket_server", "stop_socket_server", "broadcast_message", "add_message_handler",
    "start_socket_client", "stop_socket_client", "send_message", "add_client_message_handler",
    "Limits", "ClientState", "PeerInfo", "Message", "Payload", "MessageLog", "MemoryLog", "Lapped",
    "IpcError", "AddressError", "AlreadyRunningError", "AuthkeyError", "PayloadError", "ProtocolError", "RequestError",
    "ChildContext", "ChildSettings", "ChildSetupError", "EXIT_SETUP",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "SocketManager":
        from ipc.socket_manager import SocketManager

        return SocketManager
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
