"""Sending now, or a moment later together with what comes meanwhile.

A message that finds the channel quiet is sent at once, in the caller's thread. In a burst, a system call and a wake-up
of the receiver for each message would cost ten times what the message does: so for a moment after a flush news is held
back, and the next flush takes all of it in one frame. Hearing from the other side ends the moment: it has nothing left
to do, as in a dialogue, where each message waits for the last one's answer.
"""

import threading
import time
from collections.abc import Callable

from ipc.logs import get_logger

HOLD_S = 0.0001
_LONGEST_HOLD_S = 0.005
_LONGEST_PAUSE_S = 0.001


class Flusher:
    """Calls `flush` for whoever has news. Its thread is there for news that no later news takes along."""

    def __init__(self, flush: Callable[[], None], name: str) -> None:
        self._flush = flush
        self._name = name
        self._hold_until = 0.0
        self._was_heard = False
        self._is_armed = False
        self._bell = threading.Lock()  # rung by releasing it: a bare lock is one call in C
        self._bell.acquire()
        self._stopping = threading.Event()
        self._thread_lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> bool:
        """Start the thread, which the first news that needs it does otherwise; False where there can be no more."""
        with self._thread_lock:
            if self._thread is None and not self._stopping.is_set():
                thread = threading.Thread(target=self._run, name=f"ipc-flusher-{self._name}", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads
                    return False
                self._thread = thread
        return True

    def news(self) -> None:
        """Flush, now or in a moment. Any thread."""
        began = time.monotonic()
        if began >= self._hold_until:
            self._was_heard = False
            try:
                self._flush()
            except BaseException:  # of a signal handler, perhaps: what it has broken off, the thread does
                if threading.current_thread() is not self._thread and self.start():
                    self._ring()
                raise
            ended = time.monotonic()
            # With many receivers a flush takes long: then at most half of the caller's time goes into it. One that has
            # waited, for a disk or the whole process for the processor, says nothing about the next.
            took_s = ended - began
            hold_s = HOLD_S if took_s < HOLD_S else took_s if took_s < _LONGEST_HOLD_S else _LONGEST_HOLD_S
            self._hold_until = ended + hold_s
            if self._was_heard:
                self._hold_until = 0.0  # the answer was here before the flush had returned
        elif not self._is_armed:
            self._is_armed = True
            try:
                if self._thread is None and not self.start():
                    self._is_armed = False
                    self._flush()
                    return
                self._ring()
            except BaseException:  # of a signal handler: the next news must not rely on a bell that nobody has rung
                self._is_armed = False
                raise

    def heard(self) -> None:
        """Note that the other side has answered: the next news goes out at once. Any thread."""
        self._was_heard = True
        self._hold_until = 0.0

    def stop(self, patience_s: float = 1.0) -> None:
        """Flush once more and end the thread; one whose flush takes longer than that is left behind."""
        self._stopping.set()
        self._ring()
        with self._thread_lock:
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(patience_s)
            if thread.is_alive():
                return  # so would another flush
        self._flush()

    def _ring(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # another thread has rung it, and nobody has heard it yet

    def _run(self) -> None:
        """Body of the thread: each time it is armed, wait until nobody else has flushed for a moment, then flush."""
        while self._bell.acquire() and not self._stopping.is_set():
            pause_s = HOLD_S
            while (remaining_s := self._hold_until - time.monotonic()) > 0 and not self._stopping.is_set():
                time.sleep(min(max(pause_s, remaining_s), _LONGEST_PAUSE_S))
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)  # in a long burst the caller flushes; stay out of its way
            self._is_armed = False  # first: whoever brings news from here on arms it again
            self._hold_until = 0.0
            try:
                self.news()
            except Exception:  # noqa: BLE001 - this thread's top frame; the next news is flushed all the same
                get_logger().error("flush_failed", channel=self._name, exc_info=True)
