"""The whole product where other machines can reach it: keys, secrets, and connections that never say what they want."""

from __future__ import annotations

import http.client
import itertools
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from ipc.authkey import key_path, load_key
from tests.kill.conftest import DEADLINE_S
from tests.kill.product import RUN, Product

JSON = {"Content-Type": "application/json"}
PEOPLE = itertools.count(1)
# Always there, and not loopback: reached as 127.0.0.1 it is still an address that other machines could use.
EVERYWHERE = ("--host", "0.0.0.0")


def devices(directory: Path, *arguments: str) -> str:
    """Run `run.py devices`; return what it prints on stdout."""
    command = [sys.executable, str(RUN), "devices", *arguments, "--state-dir", str(directory / "state")]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def bearer(key: str) -> dict[str, str]:
    return {**JSON, "Authorization": f"Bearer {key}"}


@pytest.fixture
def key(directory: Path) -> str:
    return devices(directory, "add", "front door")


@pytest.fixture
def product(directory: Path, key: str) -> Iterator[Product]:
    assert key  # before the server, which would not start without one
    running = Product(directory, *EVERYWHERE)
    try:
        yield running.wait_until_ready()
    finally:
        running.clean_up()


def post_mark(product: Product, headers: dict[str, str]) -> int:
    """POST a mark of somebody else each time; return the status."""
    return product.post(b'{"personId": "P%d"}' % next(PEOPLE), headers)[0]


def own_addresses() -> list[str]:
    """Return the addresses of this machine that other machines can use."""
    found = [address for addresses in psutil.net_if_addrs().values() for address in addresses]
    return [a.address for a in found if a.family == socket.AF_INET and not a.address.startswith("127.")]


def test_without_a_key_the_server_is_given_up_with_the_remedy_and_a_key_revives_it(directory: Path) -> None:
    product = Product(directory, *EVERYWHERE)
    try:
        fatal = product.wait_for("child_fatal", child="server")
        assert f"make one with `run.py devices add NAME --state-dir {product.state}`" in fatal["reason"]
        assert b"[redacted]" not in product.everything_said
        key = devices(directory, "add", "door")
        subprocess.run(
            [sys.executable, str(RUN), "restart", "server", "--socket", str(product.socket)],
            check=True,
            capture_output=True,
            timeout=60,
        )
        product.wait_for("child_ready", child="server")
        product.url = product.wait_for("launcher_ready")["url"]
        assert post_mark(product, bearer(key)) == 201
        assert post_mark(product, JSON) == 401
    finally:
        product.clean_up()


def test_a_key_counts_until_it_is_revoked_also_over_the_death_of_the_server(product: Product, key: str) -> None:
    assert post_mark(product, bearer(key)) == 201
    os.kill(product.pids["server"], signal.SIGKILL)
    product.wait_for("child_ready", child="server")
    assert post_mark(product, bearer(key)) == 201
    assert "front door" in devices(product.directory, "list")

    devices(product.directory, "revoke", "front door")

    assert post_mark(product, bearer(key)) == 401
    second = devices(product.directory, "add", "back door")
    assert post_mark(product, bearer(second)) == 201


def test_an_address_of_this_machine_is_served_by_its_number_and_no_other_name(product: Product, key: str) -> None:
    addresses = own_addresses()
    if not addresses:
        pytest.skip("this machine has no address but loopback; test_host_gate tells the same of made-up ones")
    port = urlsplit(product.url).port
    assert port
    for host, expected in ((f"{addresses[0]}:{port}", 200), (f"evil.example:{port}", 403), (addresses[0], 403)):
        connection = http.client.HTTPConnection(addresses[0], port, timeout=DEADLINE_S)
        connection.request("GET", "/readyz", headers={"Host": host, "Authorization": f"Bearer {key}"})
        assert connection.getresponse().status == expected, host
        connection.close()


def test_a_request_is_found_in_the_log_by_the_id_it_came_with(product: Product, key: str) -> None:
    assert post_mark(product, {**bearer(key), "X-Request-Id": "door-key:42"}) == 201
    product.wait_for("request_handled", route="/api/attendance", request_id="door-key:42")


def send_raw(product: Product, data: bytes) -> bytes:
    address = urlsplit(product.url)
    with socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S) as raw:
        raw.sendall(data)
        return raw.recv(65536)


def abuse(product: Product, key: str) -> None:
    """Send the key where it belongs, and where a careless client might."""
    assert post_mark(product, bearer(key)) == 201
    for authorization in (f"Basic {key}", key, f"Bearer {key}x", f"Bearer {key}, Bearer {key}"):
        assert post_mark(product, {**JSON, "Authorization": authorization}) == 401
    host = urlsplit(product.url).netloc.encode()
    for line in (
        b"Authorization Bearer %b",
        b" Authorization: Bearer %b",
        b"Authorization: Bearer %b\n",
        b"Authorization: Bearer %b\r",
        b"Authorization: Bearer \x00%b",
    ):
        answer = send_raw(product, b"GET / HTTP/1.1\r\n" + line % key.encode() + b"\r\nHost: " + host + b"\r\n\r\n")
        assert b" 400 " in answer
        assert key.encode() not in answer
    for target in (b"/%b", b"/readyz?key=%b", b"/api/attendance?person=%b"):
        send_raw(product, b"GET " + target % key.encode() + b" HTTP/1.1\r\nHost: " + host + b"\r\n\r\n")


def tree_of(product: Product) -> list[psutil.Process]:
    return [psutil.Process(product.pid), *product.tree()]


def test_secrets_are_in_no_log_argument_environment_or_file(product: Product, key: str) -> None:
    authkey = load_key(key_path(str(product.socket)))
    secrets = {
        "device key": key.encode(),
        "device key without its prefix": key.removeprefix("axon_").encode(),
        "authkey": authkey,
        "authkey in hex": authkey.hex().encode(),
        "authkey in base64": b64encode(authkey),
        "authkey as Python shows it": repr(authkey)[2:-1].encode(),
    }
    abuse(product, key)
    seen = {}
    for process in tree_of(product):
        for name in ("cmdline", "environ"):
            seen[f"{name} of {process.pid}"] = Path(f"/proc/{process.pid}/{name}").read_bytes()
    os.kill(product.pids["server"], signal.SIGABRT)  # its last words too
    product.wait_for("child_exited", child="server")
    product.wait_for("child_ready", child="server")
    abuse(product, key)
    product.process.send_signal(signal.SIGTERM)
    assert product.wait_for_exit() == 0

    seen["stdout"] = product.everything_said
    seen["stderr"] = product.stderr_after_exit().encode()
    files = [path for path in product.directory.rglob("*") if path.is_file()]
    seen |= {str(path): path.read_bytes() for path in files}
    assert len(seen) > 8
    assert b"request_handled" in seen["stdout"]
    assert b"request_refused" in seen["stdout"]
    assert product.state / "attendance.db" in files
    found = [
        f"{what} in {where}" for where, content in seen.items() for what, secret in secrets.items() if secret in content
    ]
    assert found == []


@pytest.mark.parametrize("count", [110, 700])
def test_half_open_requests_do_not_silence_healthz(product: Product, count: int) -> None:
    address = urlsplit(product.url)
    starts = (b"", b"GET /", b"POST /api/attendance HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
    with ExitStack() as stack:
        for number in range(count):
            raw = stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=DEADLINE_S))
            raw.sendall(starts[number % len(starts)])
        took_s = []
        for _ in range(5):
            began_s = time.monotonic()
            connection = http.client.HTTPConnection(address.netloc, timeout=DEADLINE_S)
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 200
            connection.close()
            took_s.append(time.monotonic() - began_s)
    assert statistics.median(took_s) < 1.0, "of five: this machine may be busy at one moment"
    assert not product.remaining("child_hung")
    assert psutil.pid_exists(product.pids["server"])
