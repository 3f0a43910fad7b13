"""The socket file: what is replaced, what is left alone, who may have it, and what is left afterwards."""

import errno
import fcntl
import multiprocessing
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from multiprocessing.connection import Client

import pytest

from ipc.endpoint import MAX_PATH_BYTES, Endpoint, InstanceLock, bind_listener, check_path, listening_socket
from ipc.errors import AddressError, AlreadyRunningError, AuthkeyError
from tests.unit.ipc.channel import WITHIN_S

KEY = b"a test's authkey of 32 bytes and"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="paths by descriptor are Linux's")


@pytest.fixture
def long_path(socket_dir):
    """A path of exactly the greatest length, in a directory with a long name."""
    directory = socket_dir / ("d" * 60)
    directory.mkdir()
    path = f"{directory}/".ljust(MAX_PATH_BYTES, "s")
    yield path
    assert os.listdir(directory) == []
    directory.rmdir()


def answers(path):
    """Tell whether somebody listens at `path`."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return False
        return True


def accept(listener):
    """Accept as the standard library does, handshake and all, and return what the client said."""
    with listener.accept() as connection:
        return connection.recv_bytes()


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    return thread


# -- paths -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_what_cannot_be_a_path_is_refused(path):
    with pytest.raises(AddressError, match="give the path of a file to be"):
        check_path(path)


def test_one_byte_too_many_is_refused_in_one_line():
    for path in ("x" * 108, "ü" * 54):
        with pytest.raises(AddressError) as caught:
            check_path(path)
        assert str(caught.value) == f"socket path has 108 bytes, 107 are possible: {path}"
    assert check_path("x" * 107)


def test_a_path_at_the_limit_in_a_long_directory_works(long_path):
    assert len(os.fsencode(long_path)) == 107
    endpoint = Endpoint(long_path, KEY)
    try:
        said = []
        thread = in_thread(lambda: said.append(accept(endpoint.listener)))
        with Client(long_path, "AF_UNIX", authkey=KEY) as client:
            client.send_bytes(b"hello")
            thread.join()
        assert said == [b"hello"]
    finally:
        endpoint.close()


def test_a_path_without_a_directory_is_in_the_current_one(socket_dir, monkeypatch):
    monkeypatch.chdir(socket_dir)
    endpoint = Endpoint("a.sock", KEY)
    try:
        assert answers("a.sock")
        assert answers(str(socket_dir / "a.sock"))
    finally:
        endpoint.close()


def test_an_endpoint_is_removed_from_where_it_was_made(socket_dir, monkeypatch):
    """A program that changes its directory, as a daemon does, leaves nothing behind."""
    monkeypatch.chdir(socket_dir)
    endpoint = Endpoint("a.sock", KEY)
    monkeypatch.chdir("/")
    endpoint.close()
    assert os.listdir(socket_dir) == []


@pytest.mark.parametrize("path", ["nowhere/a.sock", "file/a.sock"])
def test_a_directory_that_cannot_be_used_is_named_in_one_line(socket_dir, path):
    (socket_dir / "file").touch()
    try:
        for make in (Endpoint, bind_listener):
            with pytest.raises(AddressError) as caught:
                make(str(socket_dir / path), KEY)
            assert str(socket_dir / path) in str(caught.value)
            assert "\n" not in str(caught.value)
    finally:
        (socket_dir / "file").unlink()


# -- binding -----------------------------------------------------------------------------------------------------------


def test_the_socket_is_ours_alone_whatever_the_umask(socket_path):
    umask = os.umask(0)
    try:
        endpoint = Endpoint(socket_path, KEY)
    finally:
        os.umask(umask)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(os.path.dirname(socket_path))}
    endpoint.close()
    assert modes == {"a.sock": 0o600, "a.sock.lock": 0o600}


def test_all_files_come_and_go_together(socket_path, socket_dir):
    endpoint = Endpoint(socket_path)
    assert sorted(os.listdir(socket_dir)) == ["a.sock", "a.sock.key", "a.sock.lock"]
    endpoint.close()
    assert os.listdir(socket_dir) == []


def test_a_key_file_that_was_there_before_stays(socket_path, socket_dir):
    key_file = socket_dir / "a.sock.key"
    key_file.write_text("ab" * 32 + "\n")
    key_file.chmod(0o600)
    endpoint = Endpoint(socket_path)
    assert endpoint.authkey == bytes.fromhex("ab" * 32)
    endpoint.close()
    assert os.listdir(socket_dir) == ["a.sock.key"]
    key_file.unlink()


def test_a_burst_of_connects_fits_into_the_backlog(socket_path):
    endpoint = Endpoint(socket_path, KEY)
    clients = [socket.socket(socket.AF_UNIX) for _ in range(300)]
    try:
        for client in clients:
            client.setblocking(False)
            client.connect(socket_path)  # raises BlockingIOError when the backlog is full
    finally:
        for client in clients:
            client.close()
        endpoint.close()


def test_a_stale_socket_file_is_replaced(socket_path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(socket_path)
    assert os.path.exists(socket_path)
    endpoint = Endpoint(socket_path, KEY)
    try:
        assert answers(socket_path)
    finally:
        endpoint.close()


@pytest.mark.parametrize("make", [lambda path: open(path, "w").close(), os.mkdir, os.mkfifo])
def test_what_is_not_a_socket_is_refused_and_left_alone(socket_path, socket_dir, make):
    make(socket_path)
    before = os.lstat(socket_path)
    for bind in (lambda: Endpoint(socket_path), lambda: bind_listener(socket_path, KEY)):
        with pytest.raises(AddressError, match="exists and is not a socket"):
            bind()
    assert os.path.samestat(before, os.lstat(socket_path))
    left = os.listdir(socket_dir)
    (os.rmdir if stat.S_ISDIR(before.st_mode) else os.unlink)(socket_path)
    assert left == ["a.sock"]


def test_a_symbolic_link_is_refused_and_left_alone(socket_path, socket_dir):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(socket_dir / "elsewhere"))
    os.symlink(socket_dir / "elsewhere", socket_path)
    with pytest.raises(AddressError, match="exists and is not a socket"):
        Endpoint(socket_path, KEY)
    os.unlink(socket_path)
    os.unlink(socket_dir / "elsewhere")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM])
def test_a_live_socket_is_never_stolen(socket_path, kind):
    """One whose server never took the lock, and of any kind: a system log listens on a datagram socket."""
    with socket.socket(socket.AF_UNIX, kind) as live:
        live.bind(socket_path)
        if kind != socket.SOCK_DGRAM:
            live.listen(1)
        before = os.lstat(socket_path)
        for bind in (Endpoint, bind_listener):
            with pytest.raises(AddressError):
                bind(socket_path, KEY)
        is_same = os.path.exists(socket_path) and os.path.samestat(before, os.lstat(socket_path))
    if os.path.exists(socket_path):
        os.unlink(socket_path)
    assert is_same


def test_a_live_socket_with_a_full_backlog_is_never_stolen(socket_path):
    waiting = []
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(socket_path)
        live.listen(0)
        try:
            while True:
                waiting.append(socket.socket(socket.AF_UNIX))
                waiting[-1].setblocking(False)
                waiting[-1].connect(socket_path)
        except BlockingIOError:
            pass
        with pytest.raises(AddressError, match="a live server answers"):
            Endpoint(socket_path, KEY)
    for client in waiting:
        client.close()
    os.unlink(socket_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_live_socket_that_we_may_not_connect_to_is_never_stolen(socket_path, socket_dir):
    socket_dir.chmod(0o777)
    code = f"""
import os
os.setgid(65534); os.setuid(65534)
from ipc.endpoint import bind_listener
from ipc.errors import AddressError
try:
    bind_listener({socket_path!r}, b"k" * 32)
except AddressError:
    print("refused")
"""
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(socket_path)
        os.chmod(socket_path, 0o600)
        live.listen(1)
        done = _run_anywhere(code)
        is_still_there = answers(socket_path)
    os.unlink(socket_path)
    assert done.stdout == "refused\n", done.stderr
    assert is_still_there


def _run_anywhere(code):
    """Run `code` in a process that has its modules in memory before it gives up the right to read them."""
    preamble = "import ipc.endpoint, ipc.errors, multiprocessing.resource_sharer\n"
    return subprocess.run(
        [sys.executable, "-c", preamble + code], capture_output=True, text=True, timeout=100, check=False
    )


def test_a_rejected_key_leaves_nothing(socket_path, socket_dir):
    with pytest.raises(AuthkeyError):
        Endpoint(socket_path, b"short")
    assert os.listdir(socket_dir) == []


def test_an_unusable_key_file_leaves_nothing_new(socket_path, socket_dir):
    (socket_dir / "a.sock.key").write_text("garbage")
    with pytest.raises(AuthkeyError):
        Endpoint(socket_path)
    assert os.listdir(socket_dir) == ["a.sock.key"]
    (socket_dir / "a.sock.key").unlink()


def test_closing_an_old_instance_never_removes_a_newer_path(socket_path):
    old = bind_listener(socket_path, KEY)
    os.unlink(socket_path)  # somebody cleaned up /tmp
    new = bind_listener(socket_path, KEY)
    old.close()
    assert answers(socket_path)
    new.close()
    assert not os.path.exists(socket_path)


def test_closing_twice_never_removes_a_newer_path(socket_path):
    """The file system gives the same inode number again."""
    old = bind_listener(socket_path, KEY)
    old.close()
    new = bind_listener(socket_path, KEY)
    old.close()
    is_there = os.path.exists(socket_path)
    new.close()
    assert is_there


def test_a_socket_whose_mode_was_changed_is_removed_all_the_same(socket_path):
    endpoint = Endpoint(socket_path, KEY)
    os.chmod(socket_path, 0o660)
    endpoint.close()
    assert not os.path.exists(socket_path)


def test_a_removed_path_is_no_reason_to_fail(socket_path, socket_dir):
    endpoint = Endpoint(socket_path)
    for entry in socket_dir.iterdir():
        entry.unlink()
    endpoint.close()


def test_a_path_that_cannot_be_renamed_onto_leaves_nothing(socket_path, socket_dir, monkeypatch):
    """Somebody makes a directory there between our look and our rename."""

    def make_directory_first(*arguments, **options):
        os.mkdir(socket_path)
        return rename(*arguments, **options)

    rename = os.rename
    monkeypatch.setattr(os, "rename", make_directory_first)
    with pytest.raises(AddressError, match="cannot bind"):
        Endpoint(socket_path)
    os.rmdir(socket_path)
    assert os.listdir(socket_dir) == []


def test_a_path_that_cannot_be_looked_at_is_an_address_error(socket_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(AddressError, match=r"cannot bind .*: Permission denied"):
        bind_listener(socket_path, KEY)


def test_the_default_timeout_of_sockets_changes_nothing(socket_path):
    socket.setdefaulttimeout(0.01)
    try:
        endpoint = Endpoint(socket_path, KEY)
        said = []
        thread = in_thread(lambda: said.append(accept(endpoint.listener)))
        thread.join(0.1)
        assert thread.is_alive()  # it still waits for somebody
    finally:
        socket.setdefaulttimeout(None)
    with Client(socket_path, "AF_UNIX", authkey=KEY) as client:
        client.send_bytes(b"hello")
        thread.join()
    endpoint.close()
    assert said == [b"hello"]


# -- the lock ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def lock_path(socket_dir):
    return str(socket_dir / "a.lock")


def test_a_second_holder_is_told_the_pid_of_the_first(socket_path):
    first = Endpoint(socket_path, KEY)
    try:
        with pytest.raises(AlreadyRunningError, match=f"already running: pid {os.getpid()} holds") as caught:
            Endpoint(socket_path, KEY)
        assert caught.value.pid == os.getpid()
        assert answers(socket_path)
    finally:
        first.close()


def test_a_holder_that_has_not_said_its_pid_is_another_process(lock_path):
    with open(lock_path, "w") as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(AlreadyRunningError, match="another process holds") as caught:
            InstanceLock(lock_path).acquire()
        assert caught.value.pid is None
    os.unlink(lock_path)


def test_a_released_lock_can_be_taken_again(lock_path):
    for _ in range(3):
        lock = InstanceLock(lock_path)
        lock.acquire()
        assert not lock.was_abandoned
        with open(lock_path) as file:
            assert file.read() == f"{os.getpid()}\n"
        lock.release()
        lock.release()  # a second time is nothing
        assert not os.path.exists(lock_path)
        assert lock.fileno() == -1


def test_a_lock_that_was_replaced_is_not_removed(lock_path):
    old, new = InstanceLock(lock_path), InstanceLock(lock_path)
    old.acquire()
    os.unlink(lock_path)
    new.acquire()
    old.release()
    assert os.path.exists(lock_path)
    new.release()


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink("/nowhere", path), os.mkfifo])
def test_a_lock_file_that_is_none_is_an_address_error(lock_path, make):
    make(lock_path)
    try:
        with pytest.raises(AddressError):
            InstanceLock(lock_path).acquire()
    finally:
        (os.rmdir if os.path.isdir(lock_path) else os.unlink)(lock_path)


def test_a_file_system_without_locks_is_an_address_error(lock_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(AddressError, match="cannot be locked: No locks available") as caught:
        InstanceLock(lock_path).acquire()
    assert not isinstance(caught.value, AlreadyRunningError)
    os.unlink(lock_path)


def test_a_full_disk_is_an_address_error_and_leaves_nothing(lock_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        with pytest.raises(AddressError, match=r"cannot write .*: No space left on device"):
            InstanceLock(lock_path).acquire()
    assert not os.path.exists(lock_path)
    lock = InstanceLock(lock_path)
    lock.acquire()
    lock.release()


def test_a_file_that_goes_between_open_and_lock_is_made_anew(lock_path, monkeypatch):
    """The last holder removes it in that moment."""
    flock, calls = fcntl.flock, []

    def remove_first(descriptor, how):
        if not calls:
            os.unlink(lock_path)
        calls.append(how)
        return flock(descriptor, how)

    monkeypatch.setattr(fcntl, "flock", remove_first)
    lock = InstanceLock(lock_path)
    lock.acquire()
    assert len(calls) == 2
    assert os.path.samestat(os.stat(lock_path), os.fstat(lock.fileno()))
    lock.release()


HOLDER = """
import sys
from ipc.endpoint import Endpoint
endpoint = Endpoint(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_a_killed_holder_has_abandoned_its_lock_and_its_files(socket_path, socket_dir):
    command = [sys.executable, "-c", HOLDER, socket_path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyRunningError) as caught:
            Endpoint(socket_path)
        assert caught.value.pid == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert sorted(os.listdir(socket_dir)) == ["a.sock", "a.sock.key", "a.sock.lock"]
    endpoint = Endpoint(socket_path)
    try:
        assert endpoint.lock.was_abandoned
        assert answers(socket_path)
    finally:
        endpoint.close()
    assert os.listdir(socket_dir) == []


def test_a_lock_whose_descriptor_a_child_has_is_held_until_the_child_is_gone(lock_path):
    lock = InstanceLock(lock_path)
    lock.acquire()
    command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[lock.fileno()]) as child:
        os.close(lock.fileno())  # what our own death would do
        with pytest.raises(AlreadyRunningError):
            InstanceLock(lock_path).acquire()
        child.kill()
        child.wait()
    heir = InstanceLock(lock_path)
    heir.acquire()
    assert heir.was_abandoned
    heir.release()


RACER = """
import sys
from ipc.endpoint import Endpoint
from ipc.errors import AlreadyRunningError
sys.stdout.write("ready\\n"); sys.stdout.flush()
sys.stdin.readline()
try:
    endpoint = Endpoint(sys.argv[1])
except AlreadyRunningError as error:
    print("lost", error.pid, flush=True)
else:
    print("won", flush=True)
    sys.stdin.readline()
    endpoint.close()
"""


def test_of_many_processes_that_race_exactly_one_wins(socket_path):
    command = [sys.executable, "-c", RACER, socket_path]
    racers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in range(8)
    ]
    try:
        for racer in racers:
            assert racer.stdout.readline() == "ready\n"
        for racer in racers:
            racer.stdin.write("go\n")
        outcomes = [racer.stdout.readline().split() for racer in racers]
        winners = [racer.pid for racer, outcome in zip(racers, outcomes, strict=True) if outcome == ["won"]]
        assert len(winners) == 1
        assert {outcome[1] for outcome in outcomes if outcome != ["won"]} <= {str(winners[0]), "None"}
        assert answers(socket_path)
    finally:
        for racer in racers:
            racer.communicate("end\n", timeout=WITHIN_S)


def test_many_threads_that_take_turns_never_hold_it_together(lock_path):
    holders = []
    most = []

    def take_turns():
        for _ in range(200):
            lock = InstanceLock(lock_path)
            try:
                lock.acquire()
            except AlreadyRunningError:
                continue
            holders.append(1)
            most.append(len(holders))
            holders.pop()
            lock.release()

    threads = [in_thread(take_turns) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert set(most) == {1}


# -- a listener that travels -------------------------------------------------------------------------------------------


def _serve_one(listener, pipe):
    """Body of a child: accept one client with the listener that came along, then let go of it."""
    pipe.send((listener.address, accept(listener)))
    listener.close()


def _end_without_closing(_listener, pipe):
    pipe.send("collected")


@pytest.fixture
def spawned():
    """Start a function in a spawned process with a listener; the process is gone at the end."""
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []

    def start(function, listener):
        ours, theirs = context.Pipe()
        process = context.Process(target=function, args=(listener, theirs))
        process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)
        return process, ours

    yield start
    for process in processes:
        process.join(WITHIN_S)
        process.kill()
        process.join()
        process.close()
    for pipe in pipes:
        pipe.close()


def test_a_listener_travels_to_a_spawned_child(socket_path, spawned):
    endpoint = Endpoint(socket_path, KEY)
    try:
        process, pipe = spawned(_serve_one, endpoint.listener)
        with Client(socket_path, "AF_UNIX", authkey=KEY) as client:
            client.send_bytes(b"to the child")
            assert pipe.recv() == (socket_path, b"to the child")
        process.join(WITHIN_S)
        assert process.exitcode == 0
        assert answers(socket_path)  # the child has closed its copy, and the path is still ours
    finally:
        endpoint.close()


def test_a_child_that_collects_its_listener_never_unlinks_the_path(socket_path, spawned):
    endpoint = Endpoint(socket_path, KEY)
    try:
        process, pipe = spawned(_end_without_closing, endpoint.listener)
        assert pipe.recv() == "collected"
        process.join(WITHIN_S)
        assert answers(socket_path)
    finally:
        endpoint.close()


def test_what_travels_is_the_listening_socket_itself(socket_path, spawned):
    """A client that connects while nobody accepts waits in the backlog, and the child answers it."""
    endpoint = Endpoint(socket_path, KEY)
    try:
        with socket.socket(socket.AF_UNIX) as early:
            early.connect(socket_path)
            _process, pipe = spawned(_serve_one, endpoint.listener)
            early.settimeout(WITHIN_S)
            challenge = early.recv(256)
            assert b"#CHALLENGE#" in challenge
        assert not pipe.poll(0) or pipe.recv
    finally:
        endpoint.close()


def test_a_listener_that_is_collected_here_leaves_its_path_to_the_endpoint(socket_path):
    bound = bind_listener(socket_path, KEY)
    assert listening_socket(bound.listener).fileno() >= 0
    bound.listener.close()
    assert os.path.exists(socket_path)
    bound.close()
    assert not os.path.exists(socket_path)
