"""Process trees as /proc shows them: a child of ours and all that descends from it.

Owns finding the members of a tree and their figures. A process is known by pid and creation time, which is what makes
two `psutil.Process` equal: a pid that is used again is another process. Reads /proc and keeps nothing; any thread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping

import msgspec
import psutil

from launcher.sweep import mark_of


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """One process. `cpu_s` is what it has used since it began."""

    cpu_s: float
    rss_bytes: int
    threads: int
    fds: int


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One tree at one moment (monotonic)."""

    root: psutil.Process
    at_s: float
    processes: dict[psutil.Process, Figures]

    def cpu_percent_since(self, before: Reading | None) -> float:
        """Return the CPU that the tree used since `before`, or since its root began if that was another process."""
        if before is None or before.root != self.root:
            elapsed_s, known = time.time() - self.root.create_time(), {}
        else:
            elapsed_s, known = self.at_s - before.at_s, before.processes
        used_s = sum(now.cpu_s - (known[one].cpu_s if one in known else 0.0) for one, now in self.processes.items())
        # Not above zero: the wall clock was set back after the root began.
        return round(max(0.0, 100 * used_s / elapsed_s), 1) if elapsed_s > 0 else 0.0


def read_trees(roots: Mapping[str, int], before: Mapping[str, Reading]) -> dict[str, Reading]:
    """Read the tree below each of these children of ours; one that is gone is left out.

    A descendant whose parent has died is no longer below its child: what was in a tree `before` stays in it, and a
    daemon is known by the mark of the child that it descends from.
    """
    below = {process.pid: process for process in psutil.Process().children(recursive=True)}
    owners = _owners(below, {pid: name for name, pid in roots.items()}, before)
    readings = {}
    for name, pid in roots.items():
        members = {process: _figures(process) for process in below.values() if owners.get(process.pid) == name}
        present = {process: figures for process, figures in members.items() if figures is not None}
        if (root := below.get(pid)) in present and root is not None:
            readings[name] = Reading(root=root, at_s=time.monotonic(), processes=present)
    return readings


def uss_of(reading: Reading) -> int | None:
    """Return the memory that would be free without this tree, None where the kernel does not tell."""
    total_bytes = 0
    for process in reading.processes:
        try:
            total_bytes += process.memory_full_info().uss
        except psutil.NoSuchProcess:
            pass  # it has just ended
        except (psutil.AccessDenied, AttributeError):
            return None
    return total_bytes


def _owners(
    below: Mapping[int, psutil.Process], names: Mapping[int, str], before: Mapping[str, Reading]
) -> dict[int, str]:
    """Return which child each process belongs to."""
    parents = {pid: _parent_of(process) for pid, process in below.items()}
    adopted = {
        process: name
        for name, reading in before.items()
        if reading.root.pid in names and below.get(reading.root.pid) == reading.root
        for process in reading.processes
    }
    marked = {mark_of(pid): name for pid, name in names.items()}
    marked.pop(mark_of(os.getpid()), None)  # where children cannot be marked, they have ours
    owners = {}
    for pid in below:
        ancestor = pid
        for _ in below:  # no more often than there are processes: what is read one after the other may form a circle
            if ancestor in names or parents[ancestor] not in below:
                break
            ancestor = parents[ancestor]
        name = names.get(ancestor) or adopted.get(below[ancestor]) or marked.get(mark_of(ancestor))
        if name is not None:
            owners[pid] = name
    return owners


def _parent_of(process: psutil.Process) -> int:
    try:
        return process.ppid()
    except psutil.Error:
        return 0


def _figures(process: psutil.Process) -> Figures | None:
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            cpu = process.cpu_times()
            return Figures(
                cpu_s=cpu.user + cpu.system,
                rss_bytes=process.memory_info().rss,
                threads=process.num_threads(),
                fds=_fds(process),
            )
    except psutil.Error:
        return None


def _fds(process: psutil.Process) -> int:
    try:
        return process.num_fds()
    except psutil.AccessDenied:
        return 0  # it has changed its user
