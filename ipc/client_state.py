"""What a client is doing, as a value that can be shown. Pure."""

from typing import Literal

import msgspec

Kind = Literal["connecting", "resuming", "live", "stale", "waiting", "unauthorized", "incompatible", "stopped"]


class ClientState(msgspec.Struct, frozen=True, kw_only=True):
    """`kind` as follows.

    connecting: an attempt is under way. resuming: authenticated, `welcome` not here yet. live: in touch. stale: in
    touch, but nothing has come for longer than the server's heartbeat allows. waiting, unauthorized, incompatible: the
    last attempt failed (`reason`), the next comes after `retry_in_s`. stopped: by us.

    `attempt` counts the failed attempts since the last success. `resumed`, when live: nothing between the last
    connection and this one was lost unsaid; if False, reload what you show.
    """

    kind: Kind
    attempt: int = 0
    retry_in_s: float | None = None
    resumed: bool = False
    reason: str = ""
