"""A client's state is a value."""

import pytest

from ipc.client_state import ClientState


def test_states_are_equal_by_what_they_say():
    assert ClientState(kind="waiting", attempt=2) == ClientState(kind="waiting", attempt=2)
    assert ClientState(kind="waiting", attempt=2) != ClientState(kind="waiting", attempt=3)


def test_a_state_does_not_change():
    with pytest.raises(AttributeError):
        ClientState(kind="live").kind = "stopped"
