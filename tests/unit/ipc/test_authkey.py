"""The key: what is accepted as one, where it is looked for, and which files are refused."""

import multiprocessing
import os
import stat
import subprocess
import sys
import threading

import pytest

from ipc import authkey
from ipc.authkey import check_key, key_path, load_key, load_or_create_key, remove_key, resolve_key
from ipc.errors import AuthkeyError

GIVEN = b"sixteen bytes ok"


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "a.sock.key")


def write_key(path, text="ab" * 32 + "\n", mode=0o600):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [b"", b"x" * 15])
def test_a_short_key_is_refused(key):
    with pytest.raises(AuthkeyError, match=f"{len(key)} bytes are too few; use at least 16"):
        check_key(key)


@pytest.mark.parametrize("key", ["k" * 32, None, bytearray(32), 7])
def test_only_bytes_are_a_key(key):
    with pytest.raises(AuthkeyError, match=f"bytes are needed, not {type(key).__name__}"):
        check_key(key)


def test_a_refusal_does_not_show_the_key():
    with pytest.raises(AuthkeyError) as caught:
        check_key("a secret that is text, not bytes")
    assert "secret" not in str(caught.value)


def test_a_key_that_is_given_comes_first(path):
    write_key(path)
    assert resolve_key(path.removesuffix(".key"), GIVEN, create=False) == GIVEN


def test_the_key_of_the_process_comes_second(path, monkeypatch):
    write_key(path)
    monkeypatch.setattr(authkey, "_inherited", False)
    authkey.trust_inherited_key()
    address = path.removesuffix(".key")
    assert resolve_key(address, None, create=True) == bytes(multiprocessing.current_process().authkey)
    assert resolve_key(address, GIVEN, create=True) == GIVEN


def test_the_key_file_comes_last(path):
    write_key(path)
    assert resolve_key(path.removesuffix(".key"), None, create=False) == bytes.fromhex("ab" * 32)


def test_only_a_server_makes_a_key_file(path):
    address = path.removesuffix(".key")
    with pytest.raises(AuthkeyError, match=r"no key file .*: start the server first"):
        resolve_key(address, None, create=False)
    assert not os.path.exists(path)
    assert resolve_key(address, None, create=True) == load_key(path)


def test_a_server_and_a_client_that_inherited_a_key_meet(socket_path):
    """Neither of them names a key; both take the one of the process."""
    code = f"""
from ipc import SocketClient, SocketServer
from ipc.authkey import trust_inherited_key
trust_inherited_key()
server = SocketServer({socket_path!r})
server.on_request("ask")(lambda payload: {{"answer": 42}})
server.start()
client = SocketClient({socket_path!r})
client.start()
try:
    print(client.request({{"type": "ask"}}, timeout_s=40)["answer"])
finally:
    client.stop()
    server.stop()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, check=False)
    assert done.stdout == "42\n", done.stderr


# -- key files ---------------------------------------------------------------------------------------------------------


def test_a_new_key_file_is_ours_alone(path):
    umask = os.umask(0)
    try:
        key = load_or_create_key(path)
    finally:
        os.umask(umask)
    status = os.lstat(path)
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_uid == os.geteuid()
    assert status.st_nlink == 1
    with open(path) as file:
        assert file.read() == key.hex() + "\n"
    assert os.listdir(os.path.dirname(path)) == [os.path.basename(path)]


def test_two_new_keys_differ(tmp_path):
    assert load_or_create_key(str(tmp_path / "a")) != load_or_create_key(str(tmp_path / "b"))


def test_an_existing_key_is_kept(path):
    write_key(path)
    assert load_or_create_key(path) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize("text", ["AB" * 32, "ab" * 32, "Ab" * 32 + "\n"])
def test_either_case_and_no_newline_will_do(path, text):
    write_key(path, text)
    assert load_key(path) == bytes.fromhex("ab" * 32)


@pytest.mark.parametrize(
    "text", ["", "\n", "ab" * 31, "ab" * 33, "ab" * 32 + "\n\n", "ab" * 32 + " ", " " + "ab" * 32, "xy" * 32, "\0" * 64]
)
def test_garbage_is_no_key(path, text):
    write_key(path, text)
    with pytest.raises(AuthkeyError, match="does not hold 64 hexadecimal characters; remove it"):
        load_key(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o610, 0o601, 0o602])
def test_a_file_that_others_can_open_is_refused(path, mode):
    write_key(path, mode=mode)
    with pytest.raises(AuthkeyError, match="can be read by others; chmod 600 it"):
        load_or_create_key(path)


def test_a_symbolic_link_is_refused(path, tmp_path):
    write_key(tmp_path / "real")
    os.symlink(tmp_path / "real", path)
    with pytest.raises(AuthkeyError, match="is a symbolic link; remove it"):
        load_or_create_key(path)


def test_a_dangling_link_is_refused_and_not_written_through(path, tmp_path):
    os.symlink(tmp_path / "elsewhere", path)
    with pytest.raises(AuthkeyError, match="symbolic link"):
        load_or_create_key(path)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_not_a_regular_file_is_refused_at_once(path, make):
    make(path, 0o600)
    with pytest.raises(AuthkeyError):
        load_key(path)


def test_a_path_that_leads_nowhere_is_named(path):
    write_key(path)
    with pytest.raises(AuthkeyError, match=r"a\.sock\.key/x cannot be read: Not a directory"):
        load_key(f"{path}/x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(path):
    write_key(path)
    os.chown(path, 65534, 65534)
    with pytest.raises(AuthkeyError, match="not a regular file of ours"):
        load_key(path)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(AuthkeyError, match=r"nowhere/a\.key cannot be written: No such file"):
        load_or_create_key(str(tmp_path / "nowhere" / "a.key"))


def test_many_who_make_the_key_at_once_get_the_same(tmp_path):
    """A key file appears whole or not at all: nobody reads half of one."""
    for attempt in range(20):
        path = str(tmp_path / f"{attempt}.key")
        start = threading.Barrier(8)
        keys = []

        def make(path=path, start=start, keys=keys):
            start.wait()
            keys.append(load_or_create_key(path))

        threads = [threading.Thread(target=make) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(keys) == 8
        assert set(keys) == {load_key(path)}
    assert len(os.listdir(tmp_path)) == 20


def test_only_the_same_key_is_removed(path):
    write_key(path)
    remove_key(path, GIVEN)
    assert os.path.exists(path)
    remove_key(path, bytes.fromhex("ab" * 32))
    assert not os.path.exists(path)
    remove_key(path, GIVEN)  # nothing there is nothing to do


def test_a_file_that_is_not_a_key_is_not_removed(path):
    write_key(path, "garbage")
    remove_key(path, GIVEN)
    assert os.path.exists(path)


def test_the_key_lies_beside_the_socket():
    assert key_path("/run/a.sock") == "/run/a.sock.key"
