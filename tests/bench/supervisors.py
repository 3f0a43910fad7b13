"""The supervisors that recovery is compared with, and ours, each with a server behind an HTTP port.

Each is started, asked for the pid of its server, and ended with everything below it; nothing else is touched.
"""

import http.client
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from ipc import IpcError, SocketClient
from ipc.authkey import key_path, load_key
from launcher.settings import Settings, control_path

ROOT = Path(__file__).resolve().parents[2]
SERVER = "tests.bench.contestants.supervised_server"
UP_WITHIN_S = 20.0
DOWN_WITHIN_S = 10.0
# The shipped limits allow five crashes a minute; a bench needs more, and each of them after a stable run.
LIMITS = {"stable_s": 0.5, "intensity": 100_000}


class Supervised(NamedTuple):
    """A server that somebody keeps running. `server_pid()` is asked while it is up."""

    port: int
    path: str
    server_pid: Callable[[], int]


class Contestant(NamedTuple):
    """A supervisor by its name in the table."""

    name: str
    start: Callable[[Path], "Started"]


class Started(NamedTuple):
    """What has been started, and how it is talked to."""

    process: subprocess.Popen[bytes]
    supervised: Supervised


def contestants() -> list[Contestant]:
    """Return those that can be had here, ours first."""
    if "no_spares" in Settings.__struct_fields__:
        found = [
            Contestant("this launcher, warm spares", _launcher),
            Contestant("this launcher, --no-spares", lambda directory: _launcher(directory, "--no-spares")),
        ]
    else:
        found = [Contestant("this launcher", _launcher)]
    if importlib.util.find_spec("supervisor") is not None:
        found.append(Contestant("supervisord", _supervisord))
    if importlib.util.find_spec("circus") is not None:
        found.append(Contestant("circus, check_delay 0.5", lambda directory: _circus(directory, 0.5)))
        found.append(Contestant("circus, as it comes", lambda directory: _circus(directory, None)))
    return found


@contextmanager
def running(contestant: Contestant, directory: Path) -> Iterator[Supervised]:
    """Start a contestant and wait until its server answers; end it and all that is below it."""
    started = contestant.start(directory)
    try:
        deadline_s = time.monotonic() + UP_WITHIN_S
        while not answers(started.supervised, 1.0):
            if time.monotonic() > deadline_s or started.process.poll() is not None:
                raise RuntimeError(f"{contestant.name} has not come up; see {directory}")
            time.sleep(0.05)
        yield started.supervised
    finally:
        _end(started.process)


def answers(supervised: Supervised, timeout_s: float) -> bool:
    """Return whether one request on a new connection is answered with 200."""
    try:
        return ask(supervised, timeout_s) == http.client.OK
    except (OSError, http.client.HTTPException):
        return False


def ask(supervised: Supervised, timeout_s: float) -> int:
    """Send one request on a new connection; return the status. Raises OSError, HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", supervised.port, timeout=timeout_s)
    try:
        connection.request("GET", supervised.path)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def _launcher(directory: Path, *options: str) -> Started:
    port, path = _free_port(), str(directory / "a.sock")
    process = _popen(
        directory,
        [sys.executable, "-m", "tests.bench.launch_with_limits", json.dumps(LIMITS)],
        ["--socket", path, "--state-dir", str(directory / "state"), "--port", str(port), "--ui", "offscreen", *options],
    )
    return Started(process, Supervised(port, "/healthz", lambda: _pid_from_status(path)))


def _pid_from_status(path: str) -> int:
    client = SocketClient(control_path(path), authkey=load_key(key_path(path)), name="bench")
    client.start()
    try:
        deadline_s = time.monotonic() + UP_WITHIN_S
        while time.monotonic() < deadline_s:
            server = client.request({"type": "status"}, UP_WITHIN_S)["children"][0]
            if server["state"] == "RUNNING":
                return int(server["pid"])
            time.sleep(0.01)
    finally:
        client.stop()
    raise IpcError("the server is not RUNNING")


def _supervisord(directory: Path) -> Started:
    port = _free_port()
    config = directory / "supervisord.conf"
    config.write_text(
        f"[supervisord]\nnodaemon=true\nlogfile={directory}/log\npidfile={directory}/pid\n"
        f"[program:server]\ncommand={sys.executable} -m {SERVER} --port {port}\ndirectory={ROOT}\nautorestart=true\n"
    )
    supervised = _answering_with_its_pid(port)
    return Started(
        _popen(directory, [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)], []), supervised
    )


def _circus(directory: Path, check_delay_s: float | None) -> Started:
    port = _free_port()
    config = directory / "circus.ini"
    ports = [_free_port() for _ in range(2)]
    check = "" if check_delay_s is None else f"check_delay={check_delay_s}\n"
    config.write_text(
        f"[circus]\nendpoint=tcp://127.0.0.1:{ports[0]}\npubsub_endpoint=tcp://127.0.0.1:{ports[1]}\n{check}"
        f"[watcher:server]\ncmd={sys.executable} -m {SERVER} --fd $(circus.sockets.web)\nworking_dir={ROOT}\n"
        "use_sockets=True\ncopy_env=True\ngraceful_timeout=1\n"
        f"[socket:web]\nhost=127.0.0.1\nport={port}\n"
    )
    supervised = _answering_with_its_pid(port)
    return Started(_popen(directory, [sys.executable, "-m", "circus.circusd", str(config)], []), supervised)


def _answering_with_its_pid(port: int) -> Supervised:
    def pid() -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=UP_WITHIN_S)
        try:
            connection.request("GET", "/")
            return int(connection.getresponse().read())
        finally:
            connection.close()

    return Supervised(port, "/", pid)


def _popen(directory: Path, command: list[str], options: list[str]) -> subprocess.Popen[bytes]:
    with (directory / "output").open("wb") as output:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("AXON_")}
        return subprocess.Popen([*command, *options], cwd=ROOT, stdout=output, stderr=output, env=environment)


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        below = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        below = []
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(DOWN_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for each in psutil.wait_procs(below, 1.0)[1]:
        each.kill()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
