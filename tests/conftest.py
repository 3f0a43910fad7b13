"""What all tests share: the leak check around them, short directories for sockets, and the log as values.

The leak check is on for the tests of ipc; any other test asks for it with `@pytest.mark.leak_checked`.
"""

import gc
import multiprocessing.resource_tracker
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psutil
import pytest
import structlog

from ipc import SocketServer
from tests.unit.ipc.channel import KEY, Listener, LogLines, unhurried

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

# A busy machine is no reason to fail; pytest-timeout ends what hangs.
hypothesis.settings.register_profile(
    "axon", deadline=None, print_blob=True, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("axon")

TESTS = Path(__file__).parent
LEAK_CHECKED = ("unit/ipc/", "integration/test_ipc_", "kill/test_ipc_")
ENDS_WITHIN_S = 20.0


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "leak_checked: threads, descriptors and children are the same before and after")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(TESTS) and str(item.path.relative_to(TESTS)).startswith(LEAK_CHECKED):
            item.add_marker("leak_checked")


class Holdings:
    """What this process holds at one moment."""

    def __init__(self) -> None:
        self.threads = set(threading.enumerate())
        self.children = {child.pid for child in _children()}
        self.descriptors = _descriptors()

    def leaks(self) -> list[str]:
        """Return what is held beyond this, after giving what is about to end the time for it."""
        deadline = time.monotonic() + ENDS_WITHIN_S
        new_threads = set(threading.enumerate()) - self.threads
        while new_threads and time.monotonic() < deadline:
            new_threads = {thread for thread in set(threading.enumerate()) - self.threads if not _joined(thread)}
        new_children = [child for child in _children() if child.pid not in self.children]
        _, running = psutil.wait_procs(new_children, max(0.0, deadline - time.monotonic()))
        gc.collect()
        descriptors = [f"descriptor {number} -> {what}" for number, what in _descriptors() - self.descriptors]
        threads = [f"thread {thread.name}" for thread in new_threads]
        return threads + [f"child {child}" for child in running] + descriptors


def _joined(thread: threading.Thread) -> bool:
    """Wait a moment for the end of `thread`, and tell whether it has come. It may be about to start, even."""
    try:
        thread.join(0.01)
    except RuntimeError:
        pass  # not started
    return not thread.is_alive()


def _children() -> list[psutil.Process]:
    tracker = getattr(multiprocessing.resource_tracker._resource_tracker, "_pid", None)
    return [child for child in psutil.Process().children() if child.pid != tracker]


def _descriptors() -> set[tuple[str, str]]:
    """Return (number, what it is) of each open descriptor, without those that multiprocessing keeps for good."""
    kept = getattr(multiprocessing.resource_tracker._resource_tracker, "_fd", None)
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:
            pass  # the descriptor of the listing itself
    return {(number, what) for number, what in found if number != str(kept)}


@pytest.fixture(autouse=True)
def _leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test marked `leak_checked` that leaves a thread, a descriptor or a child behind."""
    if request.node.get_closest_marker("leak_checked") is None:
        yield
        return
    if "qapp" in request.fixturenames:
        request.getfixturevalue("qapp")  # what Qt opens once and for all is nobody's leak
    before = Holdings()
    yield
    leaks = before.leaks()
    assert not leaks, f"left behind: {leaks}"


@pytest.fixture
def socket_dir() -> Iterator[Path]:
    """A directory with a short name, since a socket's path has to fit into 107 bytes; it must be empty at the end."""
    path = Path(tempfile.mkdtemp(prefix="axon-t-", dir="/tmp"))
    yield path
    left = sorted(entry.name for entry in path.iterdir())
    shutil.rmtree(path)
    assert not left, f"files left behind: {left}"


@pytest.fixture
def socket_path(socket_dir: Path) -> str:
    """Where a server may be."""
    return str(socket_dir / "a.sock")


@pytest.fixture
def open_server(socket_path: str) -> Iterator[Callable[..., SocketServer]]:
    """Start servers at `socket_path`: `open_server(limits=...)`. They are stopped at the end."""
    servers: list[SocketServer] = []

    def start(path: str = socket_path, **options: Any) -> SocketServer:
        server = SocketServer(path, **({"authkey": KEY, "limits": unhurried()} | options))
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def open_client(socket_path: str) -> Iterator[Callable[..., Listener]]:
    """Start clients of the server at `socket_path`: `open_client(name=...)`. They are stopped at the end."""
    listeners: list[Listener] = []

    def start(path: str = socket_path, **options: Any) -> Listener:
        listeners.append(Listener(path, **options))
        return listeners[-1].start()

    yield start
    for listener in listeners:
        listener.client.stop()


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """What ipc logs while the test runs, as dicts; ask for it before what is to log."""
    was_configured, before = structlog.is_configured(), structlog.get_config()
    lines = LogLines()
    structlog.configure(processors=[lines], wrapper_class=structlog.make_filtering_bound_logger(0))
    yield lines
    structlog.reset_defaults()
    if was_configured:
        structlog.configure(**before)
