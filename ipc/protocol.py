"""Wire protocol, version 1: every object that may cross the socket, and its text form. Pure.

A frame's body is one or more of these as JSON, separated by newlines; each says what it is in "op". Who may send what
is in the two unions at the bottom. docs/protocol.md tells a stranger the same.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct, field

from ipc.errors import PayloadError, ProtocolError

PROTOCOL_VERSION = 1
INCOMPATIBLE = "incompatible protocol"
"""How the reason of a bye begins that turns a client away for its version."""

MAX_REASON = 1000
"""Characters of a peer's reason that are kept: it is shown and logged."""

ENVELOPE_BYTES = 128
"""Room kept in a frame for what surrounds a payload."""

MIN_FRAME_BYTES = 1024
"""The smallest limit that a client may set to what it takes: control objects, which have no limit, are below it."""

MAX_DEPTH = 200
"""Levels of nesting in a payload: far below where any decoder, with any stack under it, gives up."""

Payload = dict[str, Any]
Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]  # every JSON reader holds integers up to here exactly
Id = Annotated[int, Meta(ge=1, le=2**53 - 1)]


class Resume(Struct, frozen=True):
    """Where a client that was here before wants to go on: after `seq` of `epoch`."""

    epoch: str
    seq: Count


class _Object(Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """What stands in a frame. A field that is not known is found by being forbidden, then counted and passed over."""


class Hello(_Object, frozen=True, tag="hello"):
    """How a client introduces itself. `max_frame_bytes` is the largest frame it takes."""

    protocol: int
    client: Annotated[str, Meta(min_length=1, max_length=64)]
    name: Annotated[str, Meta(max_length=64)] = ""
    resume: Resume | None = None
    max_frame_bytes: Annotated[int, Meta(ge=MIN_FRAME_BYTES)] = 1 << 20


# gc=False: a burst leaves thousands of these waiting, and looking through them for cycles, which JSON does not have, is
# what a full garbage collection would spend tens of milliseconds on.
class ClientMessage(_Object, frozen=True, tag="message", gc=False):
    id: Id
    payload: Payload


class Request(_Object, frozen=True, tag="request", gc=False):
    id: Id
    payload: Payload


class SeqAck(_Object, frozen=True, tag="ack"):
    seq: Count


class Welcome(_Object, frozen=True, tag="welcome", kw_only=True):
    protocol: int
    epoch: str
    seq: Count
    oldest: Count
    resumed: bool
    heartbeat_s: Annotated[float, Meta(gt=0)]
    max_frame_bytes: Annotated[int, Meta(ge=1)]
    last_id: Count


class Message(_Object, frozen=True, tag="message", gc=False):
    """A message of the server. `seq` 0: sent to a single client, outside the log. `ts` is in unix seconds."""

    seq: Count
    ts: float
    payload: Payload


class Gap(_Object, frozen=True, tag="gap"):
    """The seqs `first`..`last` ("from" and "to" on the wire) can no longer be replayed."""

    first: Count = field(name="from")
    last: Count = field(name="to")


class ReplyError(Struct, frozen=True):
    code: str
    message: str


class Reply(_Object, frozen=True, tag="reply", omit_defaults=True):
    id: Id
    payload: Payload | None = None
    error: ReplyError | None = None


class IdAck(_Object, frozen=True, tag="ack"):
    id: Count


class Ping(_Object, frozen=True, tag="ping"):
    n: int


class Pong(_Object, frozen=True, tag="pong"):
    n: int


class Bye(_Object, frozen=True, tag="bye"):
    reason: str


FromClient = Hello | ClientMessage | Request | SeqAck | Ping | Pong | Bye
FromServer = Welcome | Message | Gap | Reply | IdAck | Ping | Pong | Bye

_encode = msgspec.json.Encoder().encode
_decode_payload = msgspec.json.Decoder(dict[str, Any]).decode
_PLAIN = frozenset({str, int, bool, type(None)})
_CONTAINERS = (dict, list, tuple)
_anything_decoder = msgspec.json.Decoder()


def encode(control: Struct) -> bytes:
    """Return a control object as JSON."""
    return _encode(control)


def as_payload(message: Payload | str) -> Payload:
    """Return `message` as a payload: text is wrapped into `{"type": "message", "message": text}`."""
    return {"type": "message", "message": message} if isinstance(message, str) else message


def check_size(encoded_payload: bytes, max_frame_bytes: int) -> bytes:
    """Return `encoded_payload` if it fits into one frame with its envelope. Raises PayloadError."""
    size = len(encoded_payload) + ENVELOPE_BYTES
    if size > max_frame_bytes:
        raise PayloadError(f"payload: {size} bytes with its envelope, at most {max_frame_bytes} fit into a frame")
    return encoded_payload


def encode_payload(payload: Payload) -> bytes:
    """Return `payload` as JSON, after making sure that the other side will read exactly what is here.

    Raises PayloadError that names the key path of what JSON cannot carry: NaN and infinities, keys that are not
    strings, lone surrogates, sets, bytes, dates, nesting without end.
    """
    if not isinstance(payload, dict):
        raise PayloadError(f"a payload is a dict (or a str), not {type(payload).__name__}")
    try:
        encoded = _encode(payload)
        is_sound = _is_plain(payload) or (
            _decode_payload(encoded) == payload and (_is_shallow(encoded) or _has_levels_to_spare(payload, MAX_DEPTH))
        )
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise PayloadError(_culprit(payload) or f"payload: {error}") from error
    if not is_sound and (culprit := _culprit(payload)):
        raise PayloadError(culprit)
    return encoded


def _is_plain(payload: Payload) -> bool:
    """Tell cheaply, of most payloads, that they are flat and JSON carries them as they are."""
    for key, value in payload.items():  # noqa: SIM110 - a generator costs as much again
        if type(key) is not str or type(value) not in _PLAIN:
            return False
    return True


def _is_shallow(encoded: bytes) -> bool:
    """Tell cheaply that a payload cannot be too deep: it has fewer brackets than the levels that are allowed."""
    return encoded.count(b"{") + encoded.count(b"[") <= MAX_DEPTH


def _has_levels_to_spare(value: Any, levels: int) -> bool:
    """Tell of a long payload, a tenth as fast as it is encoded, that no container in it is as deep as `levels`."""
    if levels == 0:
        return False
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, _CONTAINERS) and not _has_levels_to_spare(inner, levels - 1):
            return False
    return True


def _culprit(value: object, path: str = "payload", depth: int = 0) -> str | None:
    """Return what is wrong in `value` and where, or None. Called only when something probably is."""
    if depth > MAX_DEPTH:
        return f"{path[:60]}...: nested deeper than {MAX_DEPTH} levels; send a flatter payload"
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                return f"{path}: the key {key!r} is {type(key).__name__}; use a str"
            if found := _culprit(key, f"{path} (key)", depth + 1) or _culprit(inner, f"{path}.{key}", depth + 1):
                return found
        return None
    if isinstance(value, list | tuple):
        items = enumerate(value)
        return next(filter(None, (_culprit(item, f"{path}[{index}]", depth + 1) for index, item in items)), None)
    return _scalar_culprit(value, path)


def _scalar_culprit(value: object, path: str) -> str | None:
    if isinstance(value, float) and value - value != 0.0:
        return f"{path}: {value} has no form in JSON; send null or a string"
    if isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        return f"{path}: a lone surrogate is not valid text; replace it"
    if value is None or (isinstance(value, float | str | int) and _is_encodable(value)):
        return None
    return f"{path}: {type(value).__name__} has no form in JSON; convert it first"


def _is_encodable(value: float | str | int) -> bool:
    """Tell whether the encoder takes a scalar: not all of them if it is of a subclass, or a very large integer."""
    try:
        return bool(_encode(value))
    except (TypeError, ValueError, OverflowError):
        return False


def encode_message(seq: int, ts: float, encoded_payload: bytes) -> bytes:
    """Return the `message` object of the server; `ts` is in unix seconds."""
    return encode_stamped_message(seq, b"%.6f" % ts, encoded_payload)


def encode_stamped_message(seq: int, stamp: bytes, encoded_payload: bytes) -> bytes:
    """Return the `message` object of the server; `stamp` is the text of its `ts`."""
    return b'{"op":"message","seq":%d,"ts":%b,"payload":%b}' % (seq, stamp, encoded_payload)


def encode_client_message(op: bytes, number: int, encoded_payload: bytes) -> bytes:
    """Return a `message` or `request` object of a client."""
    return b'{"op":"%b","id":%d,"payload":%b}' % (op, number, encoded_payload)


T = TypeVar("T")


class ObjectDecoder(Generic[T]):
    """Decodes the bodies of frames into the objects that one side may send.

    Passes over ops and fields that it does not know, and counts them.
    """

    def __init__(self, side: Any) -> None:
        self.unknown_ops = 0
        self.unknown_fields = 0
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(side)
        self._decode_lines = self._decoder.decode_lines
        self._side = side
        self._kinds = {kind.__struct_config__.tag: kind for kind in side.__args__}

    def decode(self, body: memoryview | bytes) -> list[T]:
        """Return the objects of one frame. Raises ProtocolError, and then nothing of the frame counts."""
        try:
            try:
                return self._decoder.decode_lines(body)
            except msgspec.ValidationError:
                return self._decode_leniently(body)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise _blame_peer(error) from error

    def decode_frames(self, bodies: list[memoryview]) -> Iterable[list[T]]:
        """Yield the objects of frames that came together; one decoder call serves many small frames.

        Raises ProtocolError at a bad frame, after what the frames before it hold.
        """
        if len(bodies) == 1:
            try:
                return (self._decode_lines(bodies[0]),)
            except (msgspec.MsgspecError, ValueError, RecursionError):
                return (self.decode(bodies[0]),)
        return self._decode_together(bodies)

    def _decode_together(self, bodies: list[memoryview]) -> Iterator[list[T]]:
        counts = self.unknown_ops, self.unknown_fields
        if _are_whole(bodies):
            try:
                objects = self.decode(b"\n".join(bodies))
            except ProtocolError:
                self.unknown_ops, self.unknown_fields = counts
            else:
                yield objects
                return
        yield from map(self.decode, bodies)

    def _decode_leniently(self, body: memoryview | bytes) -> list[T]:
        """Decode a frame with something we do not know, which is passed over, or with a real fault, which is named."""
        objects = []
        unknown_ops = unknown_fields = 0
        for raw in _anything_decoder.decode_lines(body):
            op = raw.get("op") if isinstance(raw, dict) else None
            kind = self._kinds.get(op) if isinstance(op, str) else None
            if kind is not None:
                known = {name: raw[name] for name in ("op", *kind.__struct_encode_fields__) if name in raw}
                objects.append(msgspec.convert(known, self._side))
                unknown_fields += len(raw) - len(known)
            elif isinstance(op, str):
                unknown_ops += 1
            else:
                objects.append(msgspec.convert(raw, self._side))
        self.unknown_ops += unknown_ops
        self.unknown_fields += unknown_fields
        return objects


_OPENING, _CLOSING = b"{}"


def _are_whole(bodies: list[memoryview]) -> bool:
    """Tell cheaply that no object begins in one body and ends in another: nothing in JSON joins `}` to `{`."""
    for body in bodies:  # noqa: SIM110 - a generator costs as much again
        if body[0] != _OPENING or body[-1] != _CLOSING:
            return False
    return True


def _blame_peer(error: Exception) -> ProtocolError:
    match error:
        case UnicodeDecodeError():
            return ProtocolError("bad_utf8", f"not UTF-8: {error}")
        case msgspec.ValidationError():
            return ProtocolError("bad_field", f"not an object of protocol {PROTOCOL_VERSION}: {error}")
        case RecursionError():
            return ProtocolError("bad_json", "nested too deeply")
        case _:
            return ProtocolError("bad_json", f"not JSON: {error}")
