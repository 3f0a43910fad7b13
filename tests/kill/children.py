"""Tiny children for the launcher's tests, each a function; `run_children.py` launches them by name."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import structlog

from ipc.child import ChildContext, ChildSetupError

log = structlog.get_logger()


def steady(context: ChildContext) -> int:
    """Be ready at once and work until told to stop."""
    stopped = threading.Event()
    context.on_stop(stopped.set)
    context.ready()
    log.info("child_working", pid_of_child=os.getpid())
    stopped.wait()
    log.info("child_finished", reason="told to stop")
    return 0


def accepting(context: ChildContext) -> int:
    """Answer every HTTP connection on the handed socket with 204, and say which sockets were handed over."""
    assert context.http_socket is not None
    assert context.listener is not None
    stopped = threading.Event()
    context.on_stop(stopped.set)
    http = context.http_socket

    def serve() -> None:
        while True:
            connection, _address = http.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    if not (context.wait_for_go() and context.wait_to_accept()):
        return 0
    threading.Thread(target=serve, daemon=True).start()
    log.info("sockets_handed", port=http.getsockname()[1], address=context.listener.address)
    if not context.wait_to_succeed():
        return 0
    context.ready()
    log.info("child_working", pid_of_child=os.getpid())
    stopped.wait()
    return 0


def works_once(context: ChildContext) -> int:
    """Work, unless one before it has: then find out that it cannot run."""
    if not context.wait_for_go():
        return 0
    mark = Path(context.settings.state_dir, "worked")
    if mark.exists():
        raise ChildSetupError("the new configuration is wrong")
    mark.touch()
    if not context.wait_to_accept():
        return 0
    return steady(context)


def never_prepared(context: ChildContext) -> int:
    """Work, unless one before it has: then never get to the end of the preparations."""
    if not context.wait_for_go():
        return 0
    mark = Path(context.settings.state_dir, "worked")
    while mark.exists():
        signal.pause()
    mark.touch()
    if not context.wait_to_accept():
        return 0
    return steady(context)


def introspective(context: ChildContext) -> int:
    """Say what hastening the imports has left of itself."""
    log.info(
        "looked_inside",
        collects_garbage=gc.isenabled(),
        frozen=gc.get_freeze_count() > 0,
        rich="rich.console" in sys.modules,
    )
    return steady(context)


def stubborn(context: ChildContext) -> int:
    """Ignore every polite request to stop, SIGTERM included."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.on_stop(lambda: log.info("stop_ignored"))
    context.ready()
    while True:
        signal.pause()


def blocked_in_c(context: ChildContext) -> int:
    """Sit in one long C call on the main thread, as a Qt loop does; only the lifeline thread can end it."""
    reader, writer = os.pipe()
    context.on_stop(lambda: os.write(writer, b"\0"))
    context.ready()
    os.read(reader, 1)
    return 0


def crashing(_context: ChildContext) -> int:
    """Fail before being ready."""
    raise RuntimeError("broken as ordered")


def never_ready(_context: ChildContext) -> int:
    """Never say ready."""
    while True:
        signal.pause()


def quitting(context: ChildContext) -> int:
    """Be ready, then leave as a user who closes the window does."""
    context.ready()
    return 0


def unconfigured(_context: ChildContext) -> int:
    """Find out that it cannot run."""
    raise ChildSetupError("the widget library is missing\napt install widgets")


def noisy(context: ChildContext) -> int:
    """Print in every way there is, then work."""
    print("printed to stdout")
    print("printed to stderr", file=sys.stderr)
    log.error("import_failed", path="cards-\udcff.csv", error=ValueError("\udcff"))
    logging.getLogger("some.library").warning("%s is deprecated", "this")
    warnings.warn("and that", DeprecationWarning, stacklevel=1)
    os.write(2, b"bytes \xff\xfe that are not UTF-8\n")
    os.write(1, b'{"no": "event"}\n')
    os.write(1, b"x" * 200_000 + b"\n")
    os.write(2, b"without a newline")
    return steady(context)


def chattering(context: ChildContext) -> int:
    """Log more than any pipe holds, then work."""
    for number in range(5000):
        log.info("chattered", number=number, text="x" * 200)
    return steady(context)


def silent(context: ChildContext) -> int:
    """Close stdout and stderr, the log pipe with them, and work."""
    os.closerange(1, 3)
    stopped = threading.Event()
    context.on_stop(stopped.set)
    context.ready()
    stopped.wait()
    return 0


def mumbling(_context: ChildContext) -> int:
    """Die by SIGKILL in the middle of a line, while a grandchild holds the log pipe open."""
    grandchild = subprocess.Popen(["/bin/sleep", "30"])
    log.info("grandchild_started", grandchild_pid=grandchild.pid)
    os.write(1, b"a whole line\nhalf a li")
    os.kill(os.getpid(), signal.SIGKILL)
    return 0


def dumping(_context: ChildContext) -> int:
    """Die by SIGSEGV right after some last words."""
    os.write(2, b"last words")
    faulthandler._sigsegv()
    return 0


def leaking(context: ChildContext) -> int:
    """Be ready, then hold 100 MiB more, half of them in a grandchild."""
    stopped = threading.Event()
    context.on_stop(stopped.set)
    context.ready()
    code = "held = bytearray(b'x') * (50 << 20); print('held', flush=True); import sys; sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as grandchild:
        held = bytearray(b"x") * (50 << 20)
        assert grandchild.stdout is not None
        grandchild.stdout.readline()
        log.info("memory_held", size_bytes=len(held), grandchild_pid=grandchild.pid)
        stopped.wait()
    return 0


def parent(context: ChildContext) -> int:
    """Start grandchildren of every kind that is hard to find again, and work."""
    popen = subprocess.Popen
    pids = [
        popen(["/bin/sleep", "300"]).pid,
        popen(["/bin/sleep", "300"], start_new_session=True).pid,
        popen(["/bin/sleep", "300"], start_new_session=True, env={}, cwd="/").pid,
        _daemon(),
        _heir(),
    ]
    log.info("grandchildren_started", pids=pids)
    return steady(context)


def daemon_starting(context: ChildContext) -> int:
    """Start a daemon, which no more has this process for a parent, and work."""
    log.info("grandchildren_started", pids=[_daemon()])
    return steady(context)


def _daemon() -> int:
    """Start a process without our environment whose parent is gone; return its pid."""
    script = "env -i /usr/bin/setsid /bin/sleep 300 >/dev/null 2>&1 & echo $!"
    return int(subprocess.check_output(["/bin/sh", "-c", script]))


def _heir() -> int:
    """Fork a process that keeps every descriptor of ours, ignores SIGTERM and does nothing; return its pid."""
    pid = os.fork()
    if pid == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            signal.pause()
    return pid


def beating(context: ChildContext) -> int:
    """Beat on the main thread until told to stop; block it for good at SIGUSR1, and ignore SIGABRT too at SIGUSR2."""
    stopped = threading.Event()
    context.on_stop(stopped.set)
    signal.signal(signal.SIGUSR1, block_for_good)
    signal.signal(signal.SIGUSR2, ignore_abort_and_block)
    context.heartbeat()
    context.ready()
    while not stopped.wait(0.2):
        context.heartbeat()
    return 0


def block_for_good(*_: object) -> None:
    threading.Event().wait()


def ignore_abort_and_block(*_: object) -> None:
    signal.signal(signal.SIGABRT, signal.SIG_IGN)
    block_for_good()


def blockable_server(context: ChildContext) -> int:
    """Be the real server, with a path that keeps a thread busy: /block?<seconds>."""
    from server_proc import main

    make_wsgi_app = main.make_wsgi_app

    def make_blockable(*arguments: Any) -> Any:
        app = make_wsgi_app(*arguments)

        def blockable(environ: dict[str, Any], start_response: Any) -> Any:
            if environ["PATH_INFO"] == "/block":
                log.info("block_begun")
                threading.Event().wait(float(environ["QUERY_STRING"]))
            return app(environ, start_response)

        return blockable

    main.make_wsgi_app = make_blockable
    return main.run(context)


def jumping_server(context: ChildContext) -> int:
    """Be the real server, on a wall clock that jumps a day ahead at SIGUSR1 and two days back at SIGUSR2."""
    from server_proc import main

    real, offset_s = time.time, [0.0]
    time.time = lambda: real() + offset_s[0]  # type: ignore[assignment]

    def jump(number: int, _frame: object) -> None:
        offset_s[0] += 86_400 if number == signal.SIGUSR1 else -2 * 86_400

    signal.signal(signal.SIGUSR1, jump)
    signal.signal(signal.SIGUSR2, jump)
    return main.run(context)


def blockable_ui(context: ChildContext) -> int:
    """Be the real ui, whose GUI thread blocks for good at SIGUSR1."""
    from ui_proc import main

    signal.signal(signal.SIGUSR1, block_for_good)
    return main.run(context)
