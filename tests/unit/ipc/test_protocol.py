"""The codec: what goes out is exactly what comes in, what JSON cannot carry is named, and bad peers are told apart."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from types import SimpleNamespace
from uuid import UUID

import hypothesis.strategies as st
import pytest
from hypothesis import given

from ipc import protocol
from ipc.errors import PayloadError, ProtocolError
from ipc.protocol import (
    ENVELOPE_BYTES,
    MAX_DEPTH,
    Bye,
    ClientMessage,
    FromClient,
    FromServer,
    Gap,
    Hello,
    IdAck,
    Message,
    ObjectDecoder,
    Ping,
    Pong,
    Reply,
    ReplyError,
    Request,
    Resume,
    SeqAck,
    Welcome,
    as_payload,
    check_size,
    encode,
    encode_client_message,
    encode_message,
    encode_payload,
)
from tests.unit.ipc.json_values import payloads, text

counts = st.integers(0, 2**53 - 1)
ids = st.integers(1, 2**53 - 1)
short_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64)
resumes = st.none() | st.builds(Resume, epoch=text, seq=counts)
both_ways = st.builds(Ping, n=st.integers()) | st.builds(Pong, n=st.integers()) | st.builds(Bye, reason=text)
from_client = both_ways | st.one_of(
    st.builds(Hello, protocol=st.integers(), client=short_text, name=short_text, resume=resumes),
    st.builds(ClientMessage, id=ids, payload=payloads),
    st.builds(Request, id=ids, payload=payloads),
    st.builds(SeqAck, seq=counts),
)
from_server = both_ways | st.one_of(
    st.builds(
        Welcome,
        protocol=st.integers(),
        epoch=text,
        seq=counts,
        oldest=counts,
        resumed=st.booleans(),
        heartbeat_s=st.floats(0.001, 1e6),
        max_frame_bytes=st.integers(1, 2**53),
        last_id=counts,
    ),
    st.builds(Message, seq=counts, ts=st.floats(0, 1e12), payload=payloads),
    st.builds(Gap, first=counts, last=counts),
    st.builds(Reply, id=ids, payload=payloads),
    st.builds(Reply, id=ids, error=st.builds(ReplyError, code=text, message=text)),
    st.builds(IdAck, id=counts),
)


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"in": value}
    return value


def kind_of(body, side=FromClient):
    """Return the kind of fault that `body` is found to be."""
    with pytest.raises(ProtocolError) as caught:
        ObjectDecoder(side).decode(body)
    return caught.value.kind


# -- what one side says is what the other reads ------------------------------------------------------------------------


@given(st.lists(from_client, min_size=1, max_size=6))
def test_objects_of_a_client_survive_a_frame(objects):
    assert ObjectDecoder(FromClient).decode(b"\n".join(map(encode, objects))) == objects


@given(st.lists(from_server, min_size=1, max_size=6))
def test_objects_of_a_server_survive_a_frame(objects):
    assert ObjectDecoder(FromServer).decode(b"\n".join(map(encode, objects))) == objects


@given(st.lists(st.lists(from_client, min_size=1, max_size=3), min_size=1, max_size=3))
def test_frames_that_came_together_hold_what_they_hold_alone(frames):
    bodies = [memoryview(b"\n".join(map(encode, objects))) for objects in frames]
    together = [each for objects in ObjectDecoder(FromClient).decode_frames(bodies) for each in objects]
    assert together == [each for objects in frames for each in objects]


@given(payloads)
def test_a_payload_reaches_any_json_reader_unchanged(payload):
    encoded = encode_payload(payload)
    assert b"\n" not in encoded
    assert json.loads(encoded) == payload


@given(seq=counts, ts=st.floats(0, 4e9), payload=payloads)
def test_a_message_is_told_in_its_envelope(seq, ts, payload):
    encoded_payload = encode_payload(payload)
    encoded = encode_message(seq, ts, encoded_payload)
    assert len(encoded) <= len(encoded_payload) + ENVELOPE_BYTES
    [message] = ObjectDecoder(FromServer).decode(encoded)
    assert (message.seq, message.payload) == (seq, payload)
    assert message.ts == pytest.approx(ts, abs=1e-6)


@given(op=st.sampled_from(["message", "request"]), number=ids, payload=payloads)
def test_what_a_client_posts_is_told_in_its_envelope(op, number, payload):
    encoded_payload = encode_payload(payload)
    encoded = encode_client_message(op.encode(), number, encoded_payload)
    assert len(encoded) <= len(encoded_payload) + ENVELOPE_BYTES
    expected = {"message": ClientMessage, "request": Request}[op](number, payload)
    assert ObjectDecoder(FromClient).decode(encoded) == [expected]


def test_every_object_has_its_op_and_the_fields_of_the_protocol():
    said = json.loads(encode(Hello(1, "c", "n", Resume("e", 2))))
    resume = {"epoch": "e", "seq": 2}
    hello = {"op": "hello", "protocol": 1, "client": "c", "name": "n", "resume": resume}
    assert said == hello | {"max_frame_bytes": 1 << 20}
    assert json.loads(encode(Gap(1, 2))) == {"op": "gap", "from": 1, "to": 2}
    assert json.loads(encode(Reply(1, payload={}))) == {"op": "reply", "id": 1, "payload": {}}
    error = {"code": "c", "message": "m"}
    assert json.loads(encode(Reply(1, error=ReplyError("c", "m")))) == {"op": "reply", "id": 1, "error": error}
    assert json.loads(encode(SeqAck(1))) == {"op": "ack", "seq": 1}
    assert json.loads(encode(IdAck(1))) == {"op": "ack", "id": 1}
    assert json.loads(encode(Ping(1))) == {"op": "ping", "n": 1}
    assert json.loads(encode(Pong(1))) == {"op": "pong", "n": 1}
    assert json.loads(encode(Bye("r"))) == {"op": "bye", "reason": "r"}


# -- payloads on their way out -----------------------------------------------------------------------------------------


def test_text_is_wrapped_and_a_dict_is_left_as_it_is():
    assert as_payload("hi") == {"type": "message", "message": "hi"}
    payload = {"a": 1}
    assert as_payload(payload) is payload


@pytest.mark.parametrize(
    ("payload", "path"),
    [
        ({"a": float("nan")}, "payload.a: nan"),
        ({"a": {"b": [0, float("inf")]}}, "payload.a.b[1]: inf"),
        ({"a": [{"b": float("-inf")}]}, "payload.a[0].b: -inf"),
        ({"a": {1: "x"}}, "payload.a: the key 1 is int"),
        ({None: 1}, "payload: the key None is NoneType"),
        ({"a": {b"k": 1}}, "payload.a: the key b'k' is bytes"),
        ({"a": "\ud800"}, "payload.a: a lone surrogate"),
        ({"a": {"\udfff": 1}}, "payload.a (key): a lone surrogate"),
        ({"a": (1, {"b": {1, 2}})}, "payload.a[1].b: set"),
        ({"a": b"bytes"}, "payload.a: bytes"),
        ({"a": bytearray(b"x")}, "payload.a: bytearray"),
        ({"a": datetime(2026, 1, 1, tzinfo=UTC)}, "payload.a: datetime"),
        ({"a": Decimal("1.5")}, "payload.a: Decimal"),
        ({"a": UUID(int=1)}, "payload.a: UUID"),
        ({"a": SimpleNamespace()}, "payload.a: SimpleNamespace"),
        ({"a": Ping(1)}, "payload.a: Ping"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_json_cannot_carry_is_refused_by_its_path(payload, path):
    with pytest.raises(PayloadError) as caught:
        encode_payload(payload)
    assert str(caught.value).startswith(path)
    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # it can be logged


@pytest.mark.parametrize("payload", [None, 1, [], b"{}", "text", Ping(1)])
def test_only_a_dict_is_a_payload(payload):
    with pytest.raises(PayloadError, match="a payload is a dict"):
        encode_payload(payload)


def test_a_tuple_is_a_list_and_an_enum_of_numbers_or_text_its_value():
    class Number(IntEnum):
        ONE = 1

    class Word(StrEnum):
        YES = "yes"

    assert encode_payload({"a": (1, Number.ONE, Word.YES, True, None)}) == b'{"a":[1,1,"yes",true,null]}'


@pytest.mark.parametrize("base", [int, float, str])
def test_a_scalar_of_a_class_of_its_own_is_refused_by_its_path(base):
    """numpy.float64 is such a float, markupsafe.Markup such a str."""
    own = type("Own", (base,), {})
    with pytest.raises(PayloadError, match=r"payload\.a\.b\[1\]: Own"):
        encode_payload({"a": {"b": [0, own("1")]}})


def test_a_long_sound_payload_is_not_searched_for_what_is_wrong_in_it(monkeypatch):
    """That takes ten times as long as encoding it."""
    monkeypatch.setattr("ipc.protocol._culprit", None)
    payload = {"rows": [{"n": n, "inner": [n, {}]} for n in range(1000)]}
    assert json.loads(encode_payload(payload)) == payload


@pytest.mark.parametrize("position", [0, 500, 999])
def test_one_that_is_too_deep_is_found_among_many(position):
    rows = [nested(1) for _ in range(1000)]
    rows[position] = nested(MAX_DEPTH)
    with pytest.raises(PayloadError, match="nested deeper than 200"):
        encode_payload({"rows": rows})


def test_a_payload_may_be_nested_to_the_limit_and_no_deeper():
    assert json.loads(encode_payload(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(PayloadError, match="nested deeper than 200"):
        encode_payload(nested(MAX_DEPTH + 2))
    with pytest.raises(PayloadError, match="nested deeper than 200"):
        encode_payload(nested(100_000))


def test_a_payload_that_holds_itself_is_refused():
    payload = {"list": []}
    payload["list"].append(payload)
    with pytest.raises(PayloadError, match="nested deeper than 200"):
        encode_payload(payload)


def test_many_shallow_brackets_are_no_depth():
    payload = {"rows": [{"text": "{[" * 200} for _ in range(300)]}
    assert json.loads(encode_payload(payload)) == payload


def test_an_integer_that_no_reader_takes_is_refused():
    with pytest.raises(PayloadError, match=r"payload\.a: "):
        encode_payload({"a": 10**5000})


def test_big_integers_and_all_of_unicode_survive():
    payload = {"a": 2**63, "b": -(2**63), "c": 2**64, "d": "\U0001f600 \0 \u2028 \ufeff", "": ""}
    assert json.loads(encode_payload(payload)) == payload


def test_the_size_of_a_payload_is_checked_with_its_envelope():
    assert check_size(b"x" * 72, ENVELOPE_BYTES + 72) == b"x" * 72
    with pytest.raises(PayloadError, match="201 bytes with its envelope, at most 200 fit"):
        check_size(b"x" * 73, ENVELOPE_BYTES + 72)


# -- objects on their way in -------------------------------------------------------------------------------------------


def test_unknown_fields_are_ignored():
    assert ObjectDecoder(FromClient).decode(b'{"op":"ping","n":1,"more":{"a":[1]}}') == [Ping(1)]


def test_unknown_ops_are_passed_over_and_counted():
    decoder = ObjectDecoder(FromClient)
    body = b'{"op":"ping","n":1}\n{"op":"dance","n":"x"}\n{"op":"welcome"}\n{"op":"pong","n":2}'
    assert decoder.decode(body) == [Ping(1), Pong(2)]
    assert decoder.unknown_ops == 2
    assert decoder.decode(b'{"op":"dance"}') == []
    assert decoder.unknown_ops == 3


def test_unknown_ops_of_frames_that_came_together_are_counted_once():
    decoder = ObjectDecoder(FromClient)
    bodies = [b'{"op":"dance"}', b'{"op":"ping","n":1}\n{"op":"sing"}', b'{"op":"dance"}']
    heard = [each for objects in decoder.decode_frames([memoryview(body) for body in bodies]) for each in objects]
    assert heard == [Ping(1)]
    assert decoder.unknown_ops == 3


@pytest.mark.parametrize("body", [b"[1]", b"1", b'"ping"', b"null", b"{}", b'{"n":1}', b'{"op":null}', b'{"op":5}'])
def test_what_is_not_an_object_with_an_op_is_a_bad_field(body):
    assert kind_of(body) == "bad_field"


@pytest.mark.parametrize(
    "fields",
    [
        b'"op":"ping"',
        b'"op":"ping","n":"1"',
        b'"op":"ping","n":1.5',
        b'"op":"ping","n":true',
        b'"op":"message","id":0,"payload":{}',
        b'"op":"message","id":-1,"payload":{}',
        b'"op":"message","id":9007199254740992,"payload":{}',
        b'"op":"message","id":1e3,"payload":{}',
        b'"op":"message","id":1,"payload":[]',
        b'"op":"message","id":1,"payload":null',
        b'"op":"request","id":1',
        b'"op":"ack","seq":-1',
        b'"op":"ack"',
        b'"op":"bye"',
        b'"op":"hello","protocol":1',
        b'"op":"hello","protocol":1,"client":""',
        b'"op":"hello","protocol":1,"client":"' + b"c" * 65 + b'"',
        b'"op":"hello","protocol":1,"client":"c","name":"' + b"n" * 65 + b'"',
        b'"op":"hello","protocol":1,"client":"c","resume":{"epoch":"e"}',
        b'"op":"hello","protocol":1,"client":"c","resume":{"epoch":"e","seq":-1}',
    ],
)
def test_a_missing_or_wrong_field_is_named(fields):
    assert kind_of(b"{" + fields + b"}") == "bad_field"
    assert kind_of(b'{"op":"unknown"}\n{' + fields + b"}") == "bad_field"  # the other way through the decoder


@pytest.mark.parametrize(
    "fields",
    [
        b'"op":"message","seq":-1,"ts":1.0,"payload":{}',
        b'"op":"message","seq":1,"payload":{}',
        b'"op":"message","seq":1,"ts":"now","payload":{}',
        b'"op":"gap","from":1',
        b'"op":"reply","id":0,"payload":{}',
        b'"op":"reply","id":1,"error":{"code":"c"}',
        b'"op":"ack","id":-1',
        b'"op":"welcome","protocol":1,"epoch":"e","seq":0,"oldest":1,"resumed":false,"heartbeat_s":5.0,'
        b'"max_frame_bytes":-1,"last_id":0',
    ],
)
def test_a_missing_or_wrong_field_of_the_server_is_named(fields):
    assert kind_of(b"{" + fields + b"}", FromServer) == "bad_field"


@pytest.mark.parametrize(
    "body",
    [
        b'{"op":"ping","n":1',
        b"{'op':'ping','n':1}",
        b"GET / HTTP/1.1",
        b"\x00\x00",
        b'\xef\xbb\xbf{"op":"ping","n":1}',
        b'{"op":"ping","n":NaN}',
        b'{"op":"message","id":1,"payload":{"a":Infinity}}',
        b'{"op":"message","id":1,"payload":{"a":"\\ud800"}}',
        b'{"op":"message","id":1,"payload":{"a":"line\nbreak"}}',
        b'{"op":"ping","n":1}garbage',
        b"[" * 100_000,
        b'{"op":"x","payload":' + b"[" * 100_000,
        b'{"op":"message","id":1,"payload":{"a":' + b"[" * 100_000,
    ],
    ids=lambda body: body[:30].decode(errors="replace"),
)
def test_what_is_not_json_is_bad_json(body):
    assert kind_of(body) == "bad_json"


@pytest.mark.parametrize("text", [b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80"])
def test_what_is_not_utf8_is_bad_utf8(text):
    assert kind_of(b'{"op":"message","id":1,"payload":{"a":"' + text + b'"}}') == "bad_utf8"
    assert kind_of(b'{"op":"bye","reason":"' + text + b'"}') == "bad_utf8"


def test_a_number_out_of_range_is_refused():
    assert kind_of(b'{"op":"ping","n":' + b"9" * 5000 + b"}") == "bad_field"
    assert kind_of(b'{"op":"message","id":1,"payload":{"a":1e400}}') == "bad_field"


def test_nothing_of_a_bad_frame_counts():
    assert kind_of(b'{"op":"ping","n":1}\n{"op":"ping"}') == "bad_field"


def test_frames_before_a_bad_one_count():
    decoder = ObjectDecoder(FromClient)
    bodies = [b'{"op":"ping","n":1}', b'{"op":"dance"}', b"garbage", b'{"op":"ping","n":2}']
    frames = decoder.decode_frames([memoryview(body) for body in bodies])
    assert [next(frames), next(frames)] == [[Ping(1)], []]
    with pytest.raises(ProtocolError, match="not JSON"):
        next(frames)
    assert decoder.unknown_ops == 1


def test_a_frame_with_a_wrong_object_is_refused_after_those_that_came_with_it():
    frames = ObjectDecoder(FromClient).decode_frames([memoryview(b'{"op":"ping","n":1}'), memoryview(b'{"op":"ping"}')])
    assert next(frames) == [Ping(1)]
    with pytest.raises(ProtocolError, match="not an object of protocol"):
        next(frames)


def test_a_single_bad_frame_is_refused():
    with pytest.raises(ProtocolError):
        list(ObjectDecoder(FromClient).decode_frames([memoryview(b"garbage")]))


def test_two_broken_frames_do_not_make_a_good_one():
    """Whether they came in one read or in two must not matter."""
    for first, second in (
        (b'{"op":"ping",', b'"n":1}'),
        (b'{"op":"ping","n":1}\n{"op":"ping",', b'"n":2}'),  # as many objects as frames
        (b'{"op":"message","id":1,"payload":', b"{}}"),
        (b'{"op":"message","id":1,"payload":{}', b"}"),
        (b'{"op":"message","id":1,"payload":{"a":[{}', b',{}]}}\n{"op":"ping","n":1}'),
    ):
        with pytest.raises(ProtocolError):
            list(ObjectDecoder(FromClient).decode_frames([memoryview(first), memoryview(second)]))


@given(st.lists(st.one_of(from_client.map(encode), st.binary(min_size=1)), min_size=1, max_size=6), st.data())
def test_any_frames_end_the_same_way_together_and_alone(bodies, data):
    """Also for frames that are cut in two at any place."""
    cut = data.draw(st.integers(0, len(bodies) - 1))
    place = data.draw(st.integers(0, len(bodies[cut])))
    pieces = [piece for piece in (bodies[cut][:place], bodies[cut][place:]) if piece]
    bodies = bodies[:cut] + pieces + bodies[cut + 1 :]
    assert _outcome(bodies) == [each for body in _until_bad(bodies) for each in _outcome([body])]


def _outcome(bodies):
    heard = []
    try:
        for objects in ObjectDecoder(FromClient).decode_frames([memoryview(body) for body in bodies]):
            heard += objects
    except ProtocolError:
        heard.append("bad")
    return heard


def _until_bad(bodies):
    for body in bodies:
        yield body
        if _outcome([body])[-1:] == ["bad"]:
            return


@given(st.binary())
def test_no_bytes_do_worse_than_a_protocol_error(body):
    for side in (FromClient, FromServer):
        try:
            ObjectDecoder(side).decode(body)
        except ProtocolError as error:
            protocol.encode(Bye(error.reason))  # it can be told to the peer


@given(st.recursive(st.sampled_from(["op", "ping", 1, None, 1.5]), lambda x: st.lists(x) | st.dictionaries(text, x)))
def test_no_json_does_worse_than_a_protocol_error(value):
    body = json.dumps(value).encode()
    try:
        ObjectDecoder(FromClient).decode(body)
    except ProtocolError:
        pass
