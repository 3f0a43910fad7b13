"""How far a process has come that does not act as its child yet. Values alone; any thread."""

from __future__ import annotations

import enum


class Stage(enum.IntEnum):
    """Stages of a spare. It stays at IMPORTED until it is told to go, or to prepare for a planned restart.

    ACCEPTING: its predecessor takes no more connections, and it does.
    """

    IMPORTING = enum.auto()
    IMPORTED = enum.auto()
    PREPARING = enum.auto()
    PREPARED = enum.auto()
    ACCEPTING = enum.auto()
