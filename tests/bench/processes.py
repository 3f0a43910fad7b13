"""Objects in processes of their own, called from here. Every call has an end, and every process is ended."""

import importlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Self

CALL_WITHIN_S = 30.0
START_WITHIN_S = 20.0

_context = multiprocessing.get_context("spawn")


class ChildFailed(Exception):
    """A call in a child raised, or did not end in time."""


class Child:
    """An object of class `entry` ("module:Class") in a new process; its methods are called by name, one at a time."""

    def __init__(self, entry: str, *arguments: Any) -> None:
        self._entry = entry
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(target=_run, args=(theirs, entry, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, method: str, *arguments: Any) -> Self:
        """Have `method` called; `result` waits for it."""
        self._pipe.send((method, arguments))
        return self

    def result(self, timeout_s: float = CALL_WITHIN_S) -> Any:
        """Return what the call, or the constructor, has returned. Raises ChildFailed."""
        if not self._pipe.poll(timeout_s):
            raise ChildFailed(f"{self._entry}: no answer within {timeout_s} s")
        try:
            value, error = self._pipe.recv()
        except EOFError:
            raise ChildFailed(f"{self._entry}: the process has ended") from None
        if error is not None:
            raise ChildFailed(f"{self._entry}: {error}")
        return value

    def call(self, method: str, *arguments: Any) -> Any:
        return self.begin(method, *arguments).result()

    def pause(self) -> None:
        """Stop the process where it is, as a debugger or a suspended laptop would."""
        os.kill(self._pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def place(self, cpus: set[int]) -> None:
        """Let all threads of the process run on `cpus` only; threads to come inherit that."""
        for thread_id in os.listdir(f"/proc/{self._pid}/task"):
            with suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread_id), cpus)

    def end(self) -> None:
        self._process.kill()  # works on a stopped one too
        self._process.join()
        self._pipe.close()

    @property
    def _pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid


@contextmanager
def children(*calls: tuple[Any, ...]) -> Iterator[list[Child]]:
    """Start a child for each (entry, *arguments), one after the other, and end them all."""
    started: list[Child] = []
    try:
        for call in calls:
            child = Child(*call)
            started.append(child)
            child.result(START_WITHIN_S)
        yield started
    finally:
        for child in reversed(started):
            child.end()


def _run(pipe: Connection, entry: str, arguments: tuple[Any, ...]) -> None:
    """Body of a child: make the object, then call what is asked for until the other side is gone."""
    module, _, name = entry.partition(":")
    target: Any = None
    method, make = "__init__", getattr(importlib.import_module(module), name)
    try:
        while True:
            try:
                if target is None:
                    target = make(*arguments)
                    answer = (None, None)
                else:
                    answer = (getattr(target, method)(*arguments), None)
            except Exception as error:  # noqa: BLE001 - the child's top frame
                answer = (None, f"{method}: {type(error).__name__}: {error}")
            pipe.send(answer)
            method, arguments = pipe.recv()
    except (EOFError, OSError):
        os._exit(0)  # the harness is gone, and nothing of ours is worth a farewell
