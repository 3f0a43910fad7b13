"""A stranger's client, written from docs/protocol.md alone, works on every Python of this machine."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import SocketServer

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "protocol.md"
OLDEST = (3, 8)
DEADLINE_S = 40.0


def interpreters() -> list[str]:
    """Return every Python from 3.8 on that can be found: on the PATH, or beside the one that runs the tests."""
    names = [f"python3.{minor}" for minor in range(OLDEST[1], 20)]
    found = [path for name in names if (path := shutil.which(name)) and runs(path)]
    versions = Path(sys.base_prefix).parent
    found += [str(path) for path in sorted(versions.glob("3.*/bin/python3")) if runs(str(path))]
    return sorted({str(Path(path).resolve()) for path in [*found, sys.executable]})


def runs(python: str) -> bool:
    """Tell whether `python` starts and is new enough."""
    check = f"import sys; sys.exit(sys.version_info < {OLDEST})"
    return subprocess.run([python, "-c", check], capture_output=True, check=False).returncode == 0


def documented_client() -> str:
    (code,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    return code


@pytest.fixture
def path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        yield str(Path(directory) / "s.sock")


def test_the_client_is_forty_lines() -> None:
    assert sum(1 for line in documented_client().splitlines() if line.strip()) <= 40


@pytest.mark.parametrize("python", interpreters())
def test_the_documented_client_follows_a_server_over_a_restart(python: str, path: str, tmp_path: Path) -> None:
    """It gets each message once and in order, also those said while it was away, and its own message arrives."""
    script = tmp_path / "client.py"
    script.write_text(documented_client())
    server = SocketServer(path)
    said_hello = threading.Event()
    server.add_message_handler(lambda payload: said_hello.set() if payload["text"] == "hello" else None)
    server.start()
    stranger = subprocess.Popen([python, str(script), path], stdout=subprocess.PIPE, text=True)
    try:
        assert stranger.stdout is not None
        assert said_hello.wait(DEADLINE_S)
        server.broadcast({"number": 1})
        assert json.loads(stranger.stdout.readline()) == {"number": 1}
        server.stop()
        server.start()
        for number in range(2, 102):
            server.broadcast({"number": number})
        assert [json.loads(stranger.stdout.readline())["number"] for _ in range(100)] == list(range(2, 102))
    finally:
        stranger.kill()
        stranger.wait()
        if stranger.stdout is not None:
            stranger.stdout.close()
        server.stop()
    assert server.stats["received"] == 1
