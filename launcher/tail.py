"""Shows the log of a running launcher as it comes: the `tail` command.

Owns the conversation after the connection is made. The client's thread puts what comes into a small queue, and waits
when it is full: then the launcher keeps our place. The main thread writes, and waits for news, for the end of the
launcher and for stdout being closed, all at once.
"""

from __future__ import annotations

import os
import queue
import select
import time
from typing import Any

import msgspec

from ipc import ClientState, RequestError, SocketClient
from launcher.errors import LauncherError
from launcher.log_events import Event, utc_now
from launcher.log_file import RenderedStream
from launcher.log_ring import MAX_LINES

_REPLY_S = 5.0
_LAST_MESSAGES_S = 5.0  # after the launcher's end; that of the connection comes at once, if this machine is not busy
_MESSAGES = 8
_READ_BYTES = 4096


class Tail:
    """Follows the log over `client`, which is connected, into `output` on descriptor `stdout`."""

    def __init__(self, client: SocketClient, output: RenderedStream, stdout: int) -> None:
        self._client = client
        self._output = output
        self._stdout = stdout
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue(_MESSAGES)
        self._is_connected = True
        self._seen = 0
        self._is_over = False
        self._wake_reader, self._wake_writer = os.pipe()
        os.set_blocking(self._wake_reader, False)
        os.set_blocking(self._wake_writer, False)

    def run(self, lines: int, launcher: int) -> None:
        """Show the last `lines` lines and all that follow until the launcher ends, whose pidfd is `launcher`.

        Also until nobody reads stdout any more. Raises LauncherError when the launcher refuses.
        """
        self._client.add_message_handler(self._take)
        self._client.add_state_handler(self._follow_again)
        try:
            self._client.request({"type": "tail", "lines": min(lines, MAX_LINES)}, _REPLY_S)
            self._show_until_the_end(launcher)
        except RequestError as error:
            raise LauncherError(f"tail: {error.message}") from error
        except BrokenPipeError:
            pass  # whoever read us has seen enough
        except OSError as error:
            raise LauncherError(f"tail: stdout: {error.strerror}") from error
        finally:
            self._close()

    # On the client's thread.

    def _take(self, payload: dict[str, Any]) -> None:
        if payload.get("type") == "log" and not self._is_over:
            self._messages.put(payload)
            self._wake()

    def _follow_again(self, state: ClientState) -> None:
        if self._is_over:
            return
        if state.kind == "connecting" and self._is_connected:
            self._is_connected = False
            self._messages.put(None)  # whoever waits for more is to see that
            self._wake()
        elif state.kind == "live":
            self._is_connected = True
            # All that there is: what we have seen is passed over.
            self._client.begin_request({"type": "tail", "lines": MAX_LINES}, lambda _reply: None)

    def _wake(self) -> None:
        try:
            os.write(self._wake_writer, b"\0")
        except BlockingIOError:
            pass  # full: the main thread is about to look

    # On the main thread.

    def _show_until_the_end(self, launcher: int) -> None:
        poll = select.poll()
        poll.register(launcher, select.POLLIN)
        poll.register(self._wake_reader, select.POLLIN)
        poll.register(self._stdout, 0)  # tells when nobody reads any more, also while there is nothing to write
        while True:
            ready = {descriptor for descriptor, _event in poll.poll()}
            if self._stdout in ready:
                return
            if self._wake_reader in ready:
                os.read(self._wake_reader, _READ_BYTES)
                self._show_all()
            if launcher in ready:
                self._show_the_rest()
                return

    def _show_the_rest(self) -> None:
        """Show what is still on its way from a launcher that has ended: all has come when the connection has ended."""
        until_s = time.monotonic() + _LAST_MESSAGES_S
        while self._is_connected or not self._messages.empty():
            try:
                payload = self._messages.get(timeout=max(0.0, until_s - time.monotonic()))
            except queue.Empty:
                return
            self._show(payload)

    def _show_all(self) -> None:
        while True:
            try:
                payload = self._messages.get_nowait()
            except queue.Empty:
                return
            self._show(payload)

    def _show(self, payload: dict[str, Any] | None) -> None:
        if payload is None:
            return
        events, last = payload["events"], payload["seq"]
        new = events[max(0, len(events) - (last - self._seen)) :] if last > self._seen else []
        # By the numbers: who comes back after a broken connection is told of none that it has missed meanwhile.
        missed = max(0, last - len(events) - self._seen) if self._seen else 0
        self._seen = max(self._seen, last)
        lines = [_missed(missed)] if missed else []
        lines += [msgspec.json.encode(event) for event in new]
        if lines:
            self._output.write(lines)

    def _close(self) -> None:
        self._is_over = True
        while True:  # the client's thread may be waiting for room
            try:
                self._messages.get_nowait()
            except queue.Empty:
                break
        self._client.stop()
        os.close(self._wake_reader)
        os.close(self._wake_writer)


def _missed(count: int) -> bytes:
    event: Event = {"timestamp": utc_now(), "level": "warning", "event": "log_lines_missed"}
    event |= {"proc": "tail", "pid": os.getpid(), "count": count}
    return msgspec.json.encode({**event, "reason": "this reader was too slow; the log file has them"})
