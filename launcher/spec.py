"""What the launcher is told about a child, and the children of this product.

Owns the list of children, as import strings: their code is never imported here. Immutable; any thread.
"""

from __future__ import annotations

import msgspec

from launcher.policy_types import Limits


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One child. `entry` is "module:function", called with a ChildContext in the child's process."""

    name: str
    entry: str
    takes_sockets: bool = False
    """It is handed the data plane's Listener and the HTTP socket."""
    quits_tree: bool = False
    """Its exit code 0 means that the user quit: everything stops."""
    prepares: bool = False
    """Its entry is called ahead of its turn, so that a start is short and a planned restart has no gap."""
    limits: Limits = Limits()


SERVER = ChildSpec(name="server", entry="server_proc.main:run", takes_sockets=True, prepares=True)
UI = ChildSpec(name="ui", entry="ui_proc.main:run", quits_tree=True)
CHILDREN = (SERVER, UI)
"""In the order in which they start; they stop in the reverse order."""
