"""The launcher's end of one child process: its pipes, its pidfd, its death.

Owns one spawned Process and the descriptors that go with it. Must not know why a child is started or stopped. Used
by the supervisor's thread alone, which has to outlive every child: the kernel kills a child when the thread that
spawned it ends. Nothing here waits for a child.
"""

from __future__ import annotations

import fcntl
import multiprocessing
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from multiprocessing.connection import wait
from typing import Any

import msgspec

from ipc.child import ChildSettings
from launcher import child, leash
from launcher.descendants import Descendants
from launcher.handover import TERMINAL_SIGNALS, InheritedFd
from launcher.lines import LineSplitter
from launcher.pipe_words import Command, Go, Notice, Succeed, decode_notice, encode
from launcher.pulse import Pulse
from launcher.stages import Stage

_READ_BYTES = 64 << 10
_READS_PER_TURN = 1  # so that a child that floods us is one of several things that the loop does
_READS_AFTER_DEATH = 20  # all that the pipe held at that moment; a grandchild may have it too and go on writing
_LOG_PIPE_BYTES = 1 << 20  # absorbs a burst while the loop is busy with something else
_spawn = multiprocessing.get_context("spawn")


class Handed(msgspec.Struct, frozen=True, kw_only=True):
    """What a child is given besides its pipes."""

    entry: str
    prepares: bool = False
    log_level: str
    locks: tuple[InheritedFd, ...] = ()
    listener: Any = None
    http_socket: Any = None


class ExitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended: by its exit code, or by a signal of this name."""

    exit_code: int | None = None
    signal: str | None = None

    @property
    def words(self) -> str:
        """Say it in words."""
        return f"killed by {self.signal}" if self.signal else f"exit code {self.exit_code}"


class ChildProcess:
    """A process that has been spawned, and waits for `go` until it gets it."""

    def __init__(self, name: str, handed: Handed, descendants: Descendants) -> None:
        self.name = name
        self.stage = Stage.IMPORTING
        self.setup_failure = ""
        self._notice_lines = LineSplitter()
        self._log_lines = LineSplitter()
        self._pipes: set[int] = set()
        self._ended: set[int] = set()
        self.pulse = Pulse()
        theirs: list[InheritedFd] = []
        try:
            self._commands = self._pipe(theirs, ours_is_reader=False)
            self.notices = self._pipe(theirs, ours_is_reader=True)
            self.log = self._pipe(theirs, ours_is_reader=True)
            _enlarge(self.log)
            self._process, self.mark = _start(name, _birth(handed, self.pulse, *theirs), descendants)
        except OSError:
            self._close_pipes()
            self.pulse.close()
            raise
        finally:
            for descriptor in theirs:
                descriptor.close()
        self.started_s = time.monotonic()
        self.pid: int = self._process.pid or 0
        self._pidfd = _open_pidfd(self.pid)
        self.death = self._process.sentinel if self._pidfd is None else self._pidfd
        """Readable once the process is dead."""

    def prepare(self, settings: ChildSettings) -> None:
        """Let the process prepare to take over from the one that acts now."""
        self.command(Go(settings, is_successor=True))
        self.stage = Stage.PREPARING

    def go(self, settings: ChildSettings) -> None:
        """Let the process run; its uptime counts from here."""
        self.started_s = time.monotonic()
        self.command(Go(settings) if self.stage < Stage.PREPARING else Succeed())

    def is_dead(self) -> bool:
        """Whether `death` is readable."""
        return bool(wait([self.death], 0))

    def is_suspended(self) -> bool:
        """Whether somebody has stopped the process, so that it would not go if told to."""
        return is_stopped(self.pid)

    def command(self, word: Command) -> None:
        """Tell the child something; what a dead or deaf one does not take is lost."""
        try:
            os.write(self._commands, encode(word))
        except (BrokenPipeError, BlockingIOError):
            pass  # its death, or the next rung of the ladder, deals with it

    def send_signal(self, name: str) -> None:
        """Send a signal to this process, and never to another that got its pid."""
        number = signal.Signals[name]
        try:
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self._process.exitcode is None:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # dead already; `death` says so

    def read_notices(self) -> list[Notice]:
        """Return what the child has said on its notice pipe."""
        data, _is_open = self._read(self.notices, _READS_PER_TURN)
        notices = []
        for line in self._notice_lines.feed(data):
            try:
                notices.append(decode_notice(line))
            except msgspec.MsgspecError:
                pass  # the child has written to a descriptor that is not its own; no reason for us to fall
        return notices

    def read_log(self) -> list[bytes]:
        """Return complete lines of the child's output, as many as one turn of the loop should bear."""
        data, is_open = self._read(self.log, _READS_PER_TURN)
        lines = self._log_lines.feed(data)
        return lines if is_open else lines + self._log_lines.flush()

    def is_open(self, descriptor: int) -> bool:
        """Whether there is still something to come from `notices` or `log`."""
        return descriptor not in self._ended

    def reap(self) -> ExitStatus:
        """Return how the dead process ended. Call when `death` is readable."""
        if self._pidfd is None:
            self._process.join()  # a sentinel fires a moment before the process can be waited for
        code = self._process.exitcode
        if code is not None and code < 0:
            return ExitStatus(signal=_signal_name(-code))
        return ExitStatus(exit_code=code)

    def last_words(self) -> list[bytes]:
        """Return what is left in the dead child's log pipe, the unfinished line too."""
        data, _is_open = self._read(self.log, _READS_AFTER_DEATH)
        return self._log_lines.feed(data) + self._log_lines.flush()

    def close(self) -> None:
        """Let go of every descriptor. Call after `reap`."""
        self._close_pipes()
        self.pulse.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
        self._process.close()

    def _close_pipes(self) -> None:
        while self._pipes:
            os.close(self._pipes.pop())

    def _pipe(self, theirs: list[InheritedFd], *, ours_is_reader: bool) -> int:
        """Return our end of a new pipe; the child's is added to `theirs`."""
        reader, writer = os.pipe()
        ours, other = (reader, writer) if ours_is_reader else (writer, reader)
        os.set_blocking(ours, False)
        self._pipes.add(ours)
        theirs.append(InheritedFd(other))
        return ours

    def _read(self, descriptor: int, max_reads: int) -> tuple[bytes, bool]:
        """Return what can be read without waiting, and whether more may come later.

        A pipe that has ended stays open: its number must not go to another while the loop knows it as ours.
        """
        chunks: list[bytes] = []
        while descriptor not in self._ended and len(chunks) < max_reads:
            try:
                chunk = os.read(descriptor, _READ_BYTES)
            except BlockingIOError:
                break
            if not chunk:
                self._ended.add(descriptor)
                break
            chunks.append(chunk)
        return b"".join(chunks), descriptor not in self._ended


def _birth(handed: Handed, pulse: Pulse, commands: InheritedFd, notices: InheritedFd, log: InheritedFd) -> child.Birth:
    return child.Birth(
        pulse=pulse,
        commands=commands,
        notices=notices,
        log=log,
        **{field: getattr(handed, field) for field in handed.__struct_fields__},
    )


def _start(name: str, birth: child.Birth, descendants: Descendants) -> tuple[Any, int]:
    process = _spawn.Process(target=leash.main, args=(leash.Leash(os.getpid()), birth), name=name)
    with _terminal_blocked(), descendants.shared():
        # It ignores SIGINT, but would die of a closed terminal. Starting it unblocks SIGINT: hence two blocks.
        resource_tracker.ensure_running()
    with _terminal_blocked():
        return process, descendants.start(process)


@contextmanager
def _terminal_blocked() -> Iterator[None]:
    """Let a child be born with Ctrl-C blocked, so that it cannot hit a child that has not learnt to ignore it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def is_stopped(pid: int) -> bool:
    """Whether somebody has stopped a process; False for one that is gone, and without a descriptor to look with.

    A promotion waits for this, and psutil would read several files.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].startswith(b"T")
    except OSError:
        return False


def stop_resource_tracker(timeout_s: float) -> None:
    """End the helper that `multiprocessing` starts beside the first child, so that no process outlives us.

    It goes by itself once nobody holds its pipe; this waits for it, which its own `_stop` would do without limit.
    """
    tracker: Any = resource_tracker._resource_tracker
    descriptor, pid = tracker._fd, tracker._pid
    if descriptor is None or pid is None:
        return
    tracker._fd = tracker._pid = None
    os.close(descriptor)
    pidfd = _open_pidfd(pid)
    if pidfd is not None:
        signal.pidfd_send_signal(pidfd, signal.SIGCONT)  # somebody may have stopped it
        if not wait([pidfd], timeout_s):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            wait([pidfd], timeout_s)
        os.waitpid(pid, os.WNOHANG)
        os.close(pidfd)


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def _enlarge(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _LOG_PIPE_BYTES)
    except (AttributeError, OSError):
        pass  # the system's own size does too


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
