"""Requests that wait for their reply. Each ends exactly once: by reply, by an error, or by its caller's patience."""

import threading
from collections.abc import Callable

from ipc.errors import RequestError
from ipc.protocol import Payload, Reply

OnReply = Callable[[Payload | RequestError], None]


class PendingRequests:
    """Callbacks by request id, called without the lock. Of one that raises `report` is told; nothing else ends."""

    def __init__(self, report: Callable[[OnReply], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._callbacks: dict[int, OnReply] = {}

    def add(self, number: int, on_reply: OnReply) -> None:
        with self._lock:
            self._callbacks[number] = on_reply

    def is_awaited(self, number: int) -> bool:
        """Tell whether somebody still waits for the reply to this request."""
        return number in self._callbacks

    def discard(self, number: int) -> bool:
        """Forget a request; False if it has ended already."""
        with self._lock:
            return self._callbacks.pop(number, None) is not None

    def resolve(self, reply: Reply) -> bool:
        """End the request that `reply` belongs to; one that nobody waits for any more is ignored.

        True if a thread waits for it, and may be about to ask again.
        """
        with self._lock:
            callback = self._callbacks.pop(reply.id, None)
        if callback is not None:
            error = reply.error
            self._call(callback, RequestError(error.code, error.message) if error is not None else reply.payload or {})
        return isinstance(callback, Waiter)

    def fail_through(self, last_id: float, error: RequestError) -> None:
        """End all requests up to `last_id` with `error`."""
        with self._lock:
            numbers = [number for number in self._callbacks if number <= last_id]
            callbacks = [self._callbacks.pop(number) for number in numbers]
        for callback in callbacks:
            self._call(callback, error)

    def _call(self, callback: OnReply, outcome: Payload | RequestError) -> None:
        try:
            callback(outcome)
        except BaseException as error:
            self._report(callback)
            if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
                raise  # the user's, and it has met the program in its stop()


class Waiter:
    """An `OnReply` that lets one thread wait for the outcome."""

    def __init__(self) -> None:
        self._outcome: Payload | RequestError | None = None
        self._arrived = threading.Lock()
        self._arrived.acquire()

    def __call__(self, outcome: Payload | RequestError) -> None:
        self._outcome = outcome
        self._arrived.release()

    def wait(self, timeout_s: float) -> Payload | RequestError | None:
        """Return the outcome, or None after `timeout_s`."""
        self._arrived.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX))
        return self._outcome
