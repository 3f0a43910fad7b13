"""Sending now, or a moment later together with what comes meanwhile.

A message that finds the channel quiet is sent at once, in the caller's thread. In a burst, a system call and a wake-up
of the receiver for each message would cost ten times what the message does: so for a moment after a flush news is held
back, and the next flush takes all of it in one frame. Hearing from the other side ends the moment: it has nothing left
to do, as in a dialogue, where each message waits for the last one's answer.
"""

import threading
import time
from collections.abc import Callable

HOLD_S = 0.0001


class Flusher:
    """Calls `flush` for whoever has news. Its thread is there for news that no later news takes along."""

    def __init__(self, flush: Callable[[], None], name: str) -> None:
        self._flush = flush
        self._name = name
        self._hold_until = 0.0
        self._is_armed = False
        self._wake = threading.Semaphore(0)
        self._stopping = threading.Event()
        self._thread_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def news(self) -> None:
        """Flush, now or in a moment. Any thread."""
        if time.monotonic() >= self._hold_until:
            self._flush_now()
        elif not self._is_armed:
            self._is_armed = True
            if self._thread is None:
                self._start_thread()
            self._wake.release()

    def heard(self) -> None:
        """Note that the other side has answered: the next news goes out at once. Any thread."""
        self._hold_until = 0.0

    def stop(self) -> None:
        """Flush once more and end the thread."""
        self._stopping.set()
        self._wake.release()
        with self._thread_lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        self._flush()

    def _flush_now(self) -> None:
        began = time.monotonic()
        self._flush()
        ended = time.monotonic()
        # With many receivers a flush takes long: then at most half of the caller's time goes into it.
        self._hold_until = ended + max(HOLD_S, ended - began)

    def _start_thread(self) -> None:
        with self._thread_lock:
            if self._thread is None and not self._stopping.is_set():
                self._thread = threading.Thread(target=self._run, name=f"ipc-flusher-{self._name}", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        """Body of the thread: each time it is armed, wait for the moment to end, then flush."""
        while self._wake.acquire() and not self._stopping.is_set():
            self._stopping.wait(max(0.0, self._hold_until - time.monotonic()))
            self._is_armed = False  # first: whoever brings news from here on arms it again
            self._flush_now()
