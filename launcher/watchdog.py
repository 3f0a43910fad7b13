"""When silence means that a child hangs: one pure function.

Owns the rule. Must not know processes, files or a clock: what is observed and the time come in as arguments. Nothing
here mutates, so any thread may call it.

A child beats about twice a second. As long as it does, the next look is far away. Shortly before its time is up the
looks come closer, and they have to be punctual: a launcher that was itself suspended, with its children perhaps, has
seen nothing and begins anew. Nor does a child hang that wants to run and is not let: the kernel counts how long its
threads have waited for a processor.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

CLOSE_LOOKS_S = 1.0
LOOK_EVERY_S = 0.25
LATE_S = 0.5
STARVED_FACTOR = 6
"""A child that the machine does not let run has this many times the limit: then replacing it is worth a try."""

_STARVED_WAIT = 0.5
_STARVED_RUN = 0.2


class Load(msgspec.Struct, frozen=True):
    """Seconds since its start that a process has run, and has waited for a processor to run on; of all its threads."""

    run_s: float
    waited_s: float


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """All that is remembered of one child; at `due_s` it wants a `look`. `load` is of the first of the close looks."""

    limit_s: float
    heard_s: float
    due_s: float
    load: Load | None = None
    load_s: float = 0.0


def begin(limit_s: float, now: float) -> Watch:
    """Return the watch of a child that has just said something."""
    return Watch(limit_s=limit_s, heard_s=now, due_s=now + limit_s - CLOSE_LOOKS_S)


def look(watch: Watch, beat_s: float, load: Load, now: float) -> tuple[Watch, bool]:
    """Return the watch from here on, and whether the child hangs."""
    is_late = now - watch.due_s > LATE_S
    heard_s = now if is_late else max(watch.heard_s, min(beat_s, now))
    watch = replace(watch, heard_s=heard_s)
    close_s, up_s = heard_s + watch.limit_s - CLOSE_LOOKS_S, heard_s + watch.limit_s
    if now < close_s:
        return replace(watch, due_s=close_s, load=None), False
    if watch.load is None:
        watch = replace(watch, load=load, load_s=now)
    if now < up_s:
        return replace(watch, due_s=min(now + LOOK_EVERY_S, up_s)), False
    if _is_starved(watch, load, now) and now < heard_s + watch.limit_s * STARVED_FACTOR:
        return replace(watch, due_s=now + CLOSE_LOOKS_S, load=load, load_s=now), False
    return watch, True


def _is_starved(watch: Watch, load: Load, now: float) -> bool:
    """Whether the child has mostly waited for a processor since `watch.load`, and hardly had one."""
    assert watch.load is not None, "the first of the close looks has noted it"
    span_s = now - watch.load_s
    waited_s, run_s = load.waited_s - watch.load.waited_s, load.run_s - watch.load.run_s
    return waited_s >= span_s * _STARVED_WAIT and run_s <= span_s * _STARVED_RUN
