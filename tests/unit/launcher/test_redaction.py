"""Which names are secret."""

from __future__ import annotations

import pytest

from launcher.redaction import REDACTED, is_secret_name, redact

NAMES = "authkey AUTHKEY key keys device_key deviceKey api-key token accessToken secret client_secret_hash password"
MORE = "Authorization set-cookie credentials"


@pytest.mark.parametrize("name", f"{NAMES} {MORE}".split())
def test_secret_names(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["event", "monkey", "keyboard", "tokens_per_s", "personId", "key_path", "url"])
def test_other_names(name: str) -> None:
    assert not is_secret_name(name)


def test_secrets_are_found_at_any_depth_and_the_original_is_left_alone() -> None:
    event = {"a": [{"b": {"token": "x"}}], "c": ("d", {"key": 1})}

    assert redact(event) == {"a": [{"b": {"token": REDACTED}}], "c": ["d", {"key": REDACTED}]}
    assert event["a"] == [{"b": {"token": "x"}}]
