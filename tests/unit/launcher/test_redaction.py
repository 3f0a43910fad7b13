"""What is secret, by its name or by its value, and that nothing else is taken away."""

from __future__ import annotations

import base64
import time

import msgspec
import pytest

from launcher.redaction import REDACTED, Redactor, is_secret_name

NAMES = "authkey AUTHKEY key keys device_key deviceKey api-key token accessToken secret client_secret_hash password"
MORE = "Authorization set-cookie credentials"
KEY = bytes(range(200, 232))


@pytest.mark.parametrize("name", f"{NAMES} {MORE}".split())
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)
    assert Redactor().suspects(msgspec.json.encode({name: "x"})), "the cheap look must not overlook it"


@pytest.mark.parametrize("name", ["event", "monkey", "keyboard", "tokens_per_s", "personId", "key_path", "url"])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_found_at_any_depth_and_the_original_is_left_alone() -> None:
    event = {"a": [{"b": {"token": "x"}}], "c": ("d", {"key": 1})}

    assert Redactor().redact(event) == {"a": [{"b": {"token": REDACTED}}], "c": ["d", {"key": REDACTED}]}
    assert event["a"] == [{"b": {"token": "x"}}]


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("login with password=5ec2e7, and on", "login with password=[redacted], and on"),
        ("device_key: '5ec2e7 5ec2e7'.", "device_key: [redacted]."),
        ('{"user": "ann", "password": "5ec2 e7"}', '{"user": "ann", "password": [redacted]}'),
        ('{"event": "cut", "authkey": "5ec2e7', '{"event": "cut", "authkey": [redacted]'),
        ("Authorization: Bearer 5ec2e75ec2e7", "Authorization: [redacted]"),
        ("sent with bearer 5ec2e75ec2e7 to it", "sent with bearer [redacted] to it"),
        ("amqp://ann:5ec2e7@host/x?token=5ec2e7", "amqp://ann:[redacted]@host/x?token=[redacted]"),
        ("authkey=b'\\x5e\\xc2' given", "authkey=[redacted] given"),
    ],
)
def test_secrets_within_a_text(text: str, safe: str) -> None:
    assert Redactor().suspects(msgspec.json.encode(text))
    assert Redactor().redact({"text": text}) == {"text": safe}


@pytest.mark.parametrize("name", ["request_id", "requestId"])
def test_the_id_of_a_request_is_shown_as_the_client_chose_it_unless_it_is_none(name: str) -> None:
    redactor = Redactor([KEY])

    assert redactor.redact({"payload": {name: "door-key:42"}}) == {"payload": {name: "door-key:42"}}
    assert redactor.redact({name: KEY.hex()}) == {name: REDACTED}
    assert redactor.redact({name: "key: 5ec2e7", "other": "door-key:42"}) == {
        name: f"key: {REDACTED}",
        "other": f"door-key:{REDACTED}",
    }
    assert redactor.redact({name: {"token": "x"}}) == {name: {"token": REDACTED}}


@pytest.mark.parametrize("text", ["KeyError: 'person'", "http://127.0.0.1:1340/healthz", "monkey=1 keyboard: qwerty"])
def test_other_text_is_left_alone(text: str) -> None:
    assert Redactor().redact({"text": text}) == {"text": text}


@pytest.mark.parametrize(
    "spelt", [KEY.hex(), KEY.hex().upper(), base64.b64encode(KEY).decode(), repr(KEY), str(KEY)[2:-1]]
)
def test_a_known_value_does_not_pass_under_any_name(spelt: str) -> None:
    redactor = Redactor([KEY])
    event = {"event": "odd", "note": f"it is {spelt}!", spelt: 1, "list": [spelt]}

    assert redactor.suspects(msgspec.json.encode(spelt))
    assert redactor.suspects(spelt.encode())
    assert spelt.strip("b'") not in str(redactor.redact(event))


@pytest.mark.parametrize("text", ["key" + "x" * 65536, "key=" * 16384, "://" * 20000, "key='" * 13000, "a=b" * 20000])
def test_a_long_line_takes_no_longer_than_its_length(text: str) -> None:
    began_s = time.process_time()
    Redactor([KEY]).redact({"text": text})

    assert time.process_time() - began_s < 5, "seconds or hours: that is what this is about"


def test_what_is_nested_too_deeply_to_be_looked_through_is_not_shown() -> None:
    deep: list[object] = [{"password": "x"}]
    for _ in range(100_000):
        deep = [deep]

    assert Redactor([KEY]).redact({"event": "odd", "deep": deep, "token": "x"}) == {"event": "odd", "token": REDACTED}
