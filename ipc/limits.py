"""The limits of a channel, in one place. Both ends have their own; the server's are told in `welcome`."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a channel puts up with. Sizes in bytes, times in seconds, everything else a count."""

    max_frame_bytes: int = 1 << 20
    """One frame, and so one message with its envelope."""

    batch_bytes: int = 256 << 10
    """How much a peer that lags is sent in one frame; a connection begins with less, and doubles it."""

    handshake_s: float = 2.0
    """From accept to a good `hello`, all of it."""

    frame_s: float = 10.0
    """From the first byte of a frame to its last. In a silence it is looked at every `heartbeat_s`."""

    heartbeat_s: float = 5.0
    """A connection that has been silent for this long is pinged; a client calls twice this long `stale`."""

    connect_s: float = 10.0
    """A client's patience for one attempt: the connection may wait in the backlog of a server that restarts."""

    retry_max_s: float = 5.0
    """Upper end of the jittered pause between two attempts of a client."""

    max_unauthenticated: int = 256
    """Connections that have not said a good `hello` yet; one more cuts the oldest."""

    max_peers: int = 1024
    """Live connections of a server."""

    max_known_clients: int = 10_000
    """Clients whose last id a server remembers, so that a resent message is not handled twice."""

    control_frames: int = 1024
    control_bytes: int = 16 << 20
    """Control objects (acks, replies, pongs) that wait for one peer; a peer that lets more pile up is cut."""

    log_messages: int = 1 << 17
    log_bytes: int = 64 << 20
    """What a `MemoryLog` keeps for replay."""

    outbox_messages: int = 10_000
    outbox_bytes: int = 16 << 20
    """Messages of a client that the server has not acknowledged yet."""

    inbox_messages: int = 4000
    inbox_bytes: int = 16 << 20
    """Messages that wait for the GUI thread in a `SocketManager`."""
