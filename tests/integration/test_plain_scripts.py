"""The promised functions in two plain scripts, without a launcher, on the default path: the README's own examples."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ipc import DEFAULT_SOCKET_PATH
from tests.unit.ipc.channel import eventually

ROOT = Path(__file__).resolve().parents[2]
OUR_TURN = "\0axon-plain-scripts"  # a name that is gone with whoever has it


@pytest.fixture(autouse=True)
def _default_path() -> Iterator[None]:
    """Have the path to ourselves: other runs of this test on the machine use it too, one after the other."""
    with socket.socket(socket.AF_UNIX) as turn:

        def is_ours() -> bool:
            try:
                turn.bind(OUR_TURN)
            except OSError:
                return False
            return True

        eventually(is_ours, within_s=100.0)
        if Path(DEFAULT_SOCKET_PATH + ".lock").exists():
            pytest.skip(f"an instance is running at {DEFAULT_SOCKET_PATH}")
        yield


class Script:
    """A plain script with its stdin and stdout."""

    def __init__(self, code: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def type(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def read_line(self) -> str:
        """Return the next line, without the prompts that stand before it."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().replace("say: ", "").rstrip("\n")

    def end(self) -> tuple[int, str]:
        """Answer the prompt with an empty line; return the exit code and what went to stderr."""
        self.type("")
        _out, errors = self.process.communicate(timeout=40)
        return self.process.returncode, errors


@pytest.fixture
def scripts(_default_path: None) -> Iterator[tuple[Script, Script]]:
    server_code, client_code = re.findall(r"```python\n(from ipc import.*?)```", (ROOT / "README.md").read_text(), re.S)
    pair = Script(server_code), Script(client_code)
    yield pair
    for script in pair:
        script.process.kill()
        script.process.communicate()


def test_two_plain_scripts_talk(scripts: tuple[Script, Script]) -> None:
    """Lines go both ways, two back to back arrive as two, nothing else is printed, and no file is left."""
    server, client = scripts
    client.type("from the client")
    assert server.read_line() == "a client says {'type': 'line', 'text': 'from the client'}"

    server.type("first")
    server.type("second")
    assert client.read_line() == "the server says {'type': 'line', 'text': 'first'}"
    assert client.read_line() == "the server says {'type': 'line', 'text': 'second'}"

    assert client.end() == (0, "")
    assert server.end() == (0, "")
    assert not list(Path(DEFAULT_SOCKET_PATH).parent.glob(Path(DEFAULT_SOCKET_PATH).name + "*"))
