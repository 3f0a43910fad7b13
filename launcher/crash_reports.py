"""The reports about deaths, in a directory of their own: written, counted, the oldest thrown away.

Owns the files and one thread, "crash-reports", which writes them: whoever supervises waits for no disk, and a disk
that is full costs a report and one line in the log. `note` is the supervisor's; `last` may be asked by any thread.
"""

from __future__ import annotations

import datetime
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import structlog

from launcher.crash_report import Death, Evidence, describe_death
from launcher.last_words import LastWords
from launcher.log_events import Event, Origin, utc_text

KEEP = 50
_WAITING = 16
_NEW_CHILD_FIRST_S = 0.2
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z-(?P<child>.+)\.json")
_log = structlog.get_logger()

Samples = Callable[[str], Sequence[Mapping[str, Any]]]


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where the contents of reports come from. `words_of` is called by the supervisor, the others by our thread."""

    run_id: str
    words_of: Callable[[Origin], LastWords]
    told: Callable[[Origin, LastWords], tuple[list[Event], list[str]]]
    samples: Samples = lambda _child: ()


class _Noted(msgspec.Struct, frozen=True):
    death: Death
    words: LastWords
    samples: Sequence[Mapping[str, Any]]
    time: datetime.datetime


class CrashReports:
    """Reports in `directory`, named after time and child."""

    def __init__(self, directory: Path, source: Source) -> None:
        self._directory = directory
        self._source = source
        self._has_failed = False
        self._is_closing = threading.Event()
        self._noted: deque[_Noted] = deque(maxlen=_WAITING)
        self._wake = threading.Semaphore(0)
        self._written: deque[str] = deque(maxlen=KEEP)
        self._last = _newest_by_child(self._names())
        self._thread = threading.Thread(target=self._run, name="crash-reports", daemon=True)

    def start(self) -> None:
        """Start the thread, after clearing away what an earlier launcher had no time to finish."""
        for unfinished in self._directory.glob(".*.json.tmp"):
            _remove(unfinished)
        self._thread.start()

    def close(self, timeout_s: float) -> None:
        """Write what is waiting and end the thread; one that a disk holds up is left behind."""
        self._is_closing.set()
        self._wake.release()
        self._thread.join(timeout_s)

    def note(self, death: Death) -> None:
        """Have a report written, if this death is worth one."""
        if death.is_abnormal:
            words = self._source.words_of(Origin(death.child, death.child_pid))
            samples = () if death.was_waiting else self._source.samples(death.child)  # they are of who acts
            self._noted.append(_Noted(death, words, samples, datetime.datetime.now(datetime.UTC)))
            self._wake.release()

    def last(self) -> dict[str, str]:
        """Return the path of each child's latest report, the latest of all first."""
        return {child: str(self._directory / name) for child, name in self._last.items()}

    def _run(self) -> None:
        while self._wait():
            while self._noted:
                noted = self._noted.popleft()
                try:
                    self._write(noted)
                    self._has_failed = False
                except Exception as error:  # noqa: BLE001 - this thread's top frame: the next death may be told of
                    self._fail(noted.death, error)

    def _wait(self) -> bool:
        """Wait for a death, and then for its successor to have been started; False when nothing more will come."""
        self._wake.acquire()
        self._is_closing.wait(_NEW_CHILD_FIRST_S)
        return bool(self._noted) or not self._is_closing.is_set()

    def _write(self, noted: _Noted) -> None:
        death, source = noted.death, self._source
        log, dump = source.told(Origin(death.child, death.child_pid), noted.words)
        evidence = Evidence(log=log, dump=dump, samples=noted.samples)
        report = describe_death(death, evidence, utc_text(noted.time), source.run_id)
        file = self._directory / f"{noted.time:%Y%m%dT%H%M%S.%fZ}-{death.child}.json"
        self._directory.mkdir(mode=0o700, exist_ok=True)
        write_whole(file, msgspec.json.format(msgspec.json.encode(report, enc_hook=repr), indent=2) + b"\n")
        self._written.append(file.name)
        self._last = _newest_by_child(self._throw_away_oldest())
        _log.info("crash_report_written", child=death.child, child_pid=death.child_pid, file=str(file))

    def _throw_away_oldest(self) -> list[str]:
        """Return what is left, the newest last: ours as we wrote them, wherever the clock has been set to meanwhile."""
        found = self._names()
        earlier = [name for name in found if name not in self._written]
        names = earlier + [name for name in self._written if name in found]
        for name in names[:-KEEP]:
            _remove(self._directory / name)
        return names[-KEEP:]

    def _names(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._directory) if _NAME.fullmatch(name))
        except OSError:
            return []

    def _fail(self, death: Death, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            reason = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            _log.error("crash_report_failed", child=death.child, directory=str(self._directory), reason=reason)


def write_whole(file: Path, data: bytes) -> None:
    """Write a file that is there either whole or not at all, for us alone. Raises OSError."""
    unfinished = file.with_name(f".{file.name}.tmp")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(descriptor)
        unfinished.replace(file)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise


def _remove(file: Path) -> None:
    """Remove a file, if that is possible: one of another user's, say, is no reason to fail."""
    with suppress(OSError):
        file.unlink()


def _newest_by_child(names: list[str]) -> dict[str, str]:
    newest: dict[str, str] = {}
    for name in reversed(names):
        found = _NAME.fullmatch(name)
        if found is not None:
            newest.setdefault(found["child"], name)
    return newest
