"""The sockets that the launcher holds for the server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from launcher.errors import SettingsError
from launcher.sockets import ServerSockets

KEY = b"k" * 32


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[ServerSockets]:
    it = ServerSockets(str(tmp_path / "a.sock"), "127.0.0.1", 0, KEY)
    yield it
    it.close()


def test_both_listen_once_open(sockets: ServerSockets, tmp_path: Path) -> None:
    assert (sockets.listener, sockets.http) == (None, None)

    sockets.open()

    address = urlsplit(sockets.url)
    assert address.port
    socket.create_connection((address.hostname, address.port)).close()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "a.sock"))
    assert sockets.http is not None
    assert not sockets.http.get_inheritable()
    assert sockets.http.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_closing_refuses_clients_and_opening_again_keeps_the_port(sockets: ServerSockets, tmp_path: Path) -> None:
    sockets.open()
    url = sockets.url
    address = urlsplit(url)

    sockets.close()

    assert not (tmp_path / "a.sock").exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port))
    sockets.open()
    sockets.open()
    assert sockets.url == url
    socket.create_connection((address.hostname, address.port)).close()


def test_closing_refuses_clients_though_a_dying_process_still_has_the_socket(sockets: ServerSockets) -> None:
    sockets.open()
    address = urlsplit(sockets.url)
    assert sockets.http is not None
    with sockets.http.dup():
        sockets.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port))


def test_a_port_that_was_taken_meanwhile_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        sockets = ServerSockets(str(tmp_path / "a.sock"), "127.0.0.1", port, KEY)

        with pytest.raises(SettingsError, match=f"--port {port}: another program"):
            sockets.open()

    assert list(tmp_path.iterdir()) == []


def test_nothing_stays_open_when_only_one_can_be_had(tmp_path: Path) -> None:
    (tmp_path / "a.sock").write_text("a regular file is never replaced")
    sockets = ServerSockets(str(tmp_path / "a.sock"), "127.0.0.1", 0, KEY)

    with pytest.raises(SettingsError, match="--socket: "):
        sockets.open()

    assert sockets.http is None
    assert (tmp_path / "a.sock").is_file()


def test_a_socket_file_that_was_removed_is_bound_anew(sockets: ServerSockets, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    sockets.open()
    http, before = sockets.http, sockets.listener
    path.unlink()
    assert sockets.is_lost
    with capture_logs() as said:
        sockets.replace_lost()
        sockets.replace_lost()
    assert [(line["event"], line["is_rebound"]) for line in said] == [("socket_missing", True)]
    assert sockets.listener is not before
    assert sockets.http is http
    assert not sockets.is_lost
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_what_somebody_else_has_put_in_its_place_is_left_alone(sockets: ServerSockets, tmp_path: Path) -> None:
    path = tmp_path / "a.sock"
    sockets.open()
    before = sockets.listener
    path.unlink()
    path.write_text("mine")
    with capture_logs() as said:
        sockets.replace_lost()
    assert [(line["event"], line["is_rebound"]) for line in said] == [("socket_missing", False)]
    assert "is not a socket" in said[0]["reason"]
    assert sockets.listener is before
    sockets.close()
    assert path.read_text() == "mine"
    path.unlink()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")
def test_an_ipv6_host_has_brackets_in_its_url(tmp_path: Path) -> None:
    sockets = ServerSockets(str(tmp_path / "a.sock"), "::1", 0, KEY)
    sockets.open()

    assert sockets.url.startswith("http://[::1]:")
    sockets.close()
