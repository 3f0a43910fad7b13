"""Taking connections from a listening socket, whatever comes: no descriptors left, strangers that never speak.

The listening socket may be shared with other processes, so nothing here shuts it down or relies on being the only one
that accepts: it waits on the socket and a wake-up pipe, and accepts without blocking.
"""

import collections
import errno
import os
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

from ipc.connection import hang_up

_PAUSE_MS = 100
_OUT_OF_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

Serve = Callable[[socket.socket, int, Callable[[], None]], None]


class Acceptor:
    """Accepts, from its creation on, on a thread of its own, and serves each connection on another.

    `serve(sock, number, on_greeted)` owns the socket and calls `on_greeted` once the other side is known, or gone;
    until then it is a stranger, and one stranger more than `max_strangers` cuts the one that came first.
    """

    def __init__(self, listening: socket.socket, serve: Serve, logger: Any, max_strangers: int) -> None:
        self._listening = listening
        self._serve = serve
        self._log = logger
        self._max_strangers = max_strangers
        self._lock = threading.Lock()
        self._strangers: collections.OrderedDict[int, socket.socket] = collections.OrderedDict()
        self._threads: dict[int, threading.Thread] = {}
        self._wake_reader, self._wake_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._is_stopping = False
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="ipc-accept", daemon=True)
        listening.setblocking(False)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads
            self._close_wake_pipe()
            raise

    def stop_accepting(self, patience_s: float) -> None:
        """Take no more connections and hang up on strangers.

        The thread is left behind if the log or a busy machine holds it up for longer than that; it ends by itself.
        """
        self._is_stopping = True
        with self._lock:
            if not self._has_ended:
                os.write(self._wake_writer, b".")
        self._thread.join(patience_s)
        with self._lock:
            for stranger in self._strangers.values():
                hang_up(stranger)

    def _close_wake_pipe(self) -> None:
        os.close(self._wake_reader)
        os.close(self._wake_writer)

    def threads(self) -> list[threading.Thread]:
        """Return the threads that serve connections now."""
        with self._lock:
            return list(self._threads.values())

    def _run(self) -> None:
        """Body of the thread, which gives back the pipe that wakes it."""
        try:
            self._accept_all()
        finally:
            with self._lock:
                self._has_ended = True
                self._close_wake_pipe()

    def _accept_all(self) -> None:
        poll = select.poll()
        poll.register(self._listening, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        number = 0
        was_exhausted = False
        while poll.poll() and not self._is_stopping:
            try:
                connected, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                self._drain_wake_pipe()  # another process was faster, or the peer is gone again
            except OSError as error:
                if error.errno not in _OUT_OF_RESOURCES:
                    self._log.error("accept_failed", reason=str(error))
                    return
                if not was_exhausted:
                    self._log.error("accept_paused", reason=str(error))
                was_exhausted = True
                self._pause()
            else:
                was_exhausted = False
                number += 1
                self._begin(connected, number)

    def _drain_wake_pipe(self) -> None:
        try:
            os.read(self._wake_reader, 512)  # a copy of this process may have written: fork() shares the pipe
        except BlockingIOError:
            pass  # as a rule

    def _pause(self) -> None:
        """Let a moment pass without looking at the listening socket, which would be ready at once."""
        pause = select.poll()
        pause.register(self._wake_reader, select.POLLIN)
        pause.poll(_PAUSE_MS)

    def _begin(self, connected: socket.socket, number: int) -> None:
        thread = threading.Thread(
            target=self._serve_and_forget, args=(connected, number), name=f"ipc-peer-{number}", daemon=True
        )
        with self._lock:
            self._strangers[number] = connected
            self._threads[number] = thread
            if len(self._strangers) > self._max_strangers:
                _, silent = self._strangers.popitem(last=False)
                hang_up(silent)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads
            self._log.error("accept_paused", reason=str(error))
            with self._lock:
                del self._strangers[number], self._threads[number]
            connected.close()
            self._pause()

    def _serve_and_forget(self, connected: socket.socket, number: int) -> None:
        def greeted() -> None:
            with self._lock:
                self._strangers.pop(number, None)

        try:
            self._serve(connected, number, greeted)
        except BaseException:  # noqa: BLE001 - the thread's top frame
            self._log.critical("peer_thread_failed", exc_info=True)
        finally:
            greeted()
            with self._lock:
                self._threads.pop(number, None)
