"""Device keys: shown once, hashed at rest, worth nothing from the moment that they are revoked."""

import base64
import hashlib

import pytest

from server_proc.database import open_database
from server_proc.database_errors import DatabaseBusyError
from server_proc.devices import SEEN_EVERY_MS, DeviceError, DeviceStore

NOW_MS = 1_769_846_400_000


@pytest.fixture
def devices(database):
    return DeviceStore(database)


def test_a_key_has_256_bits_and_opens_for_its_device(devices):
    key = devices.add("door", NOW_MS)
    random_part = key.removeprefix("axon_")
    assert len(base64.urlsafe_b64decode(random_part + "=")) == 32
    assert devices.authenticate(key, NOW_MS) == "door"


def test_no_two_keys_are_alike(devices):
    assert len({devices.add(str(number), NOW_MS) for number in range(20)}) == 20


def test_the_database_files_have_the_hash_and_not_the_key(devices, database_path):
    key = devices.add("door", NOW_MS)
    devices.authenticate(key, NOW_MS)
    files = b"".join(file.read_bytes() for file in database_path.parent.iterdir())
    assert key.encode() not in files
    assert key.removeprefix("axon_").encode() not in files
    assert hashlib.sha256(key.encode()).digest() in files


@pytest.mark.parametrize("wrong", ["", "axon_", "x" * 5000, "\udcff", "\x00", "' OR 1=1 --", "\u00e9"])
def test_anything_else_opens_for_nobody(devices, wrong):
    key = devices.add("door", NOW_MS)
    for attempt in (wrong, key[:-1], key + "x", key.swapcase(), key.removeprefix("axon_")):
        assert devices.authenticate(attempt, NOW_MS) is None


def test_a_key_that_another_process_revokes_is_worth_nothing_from_then_on(devices, database_path):
    key = devices.add("door", NOW_MS)
    kept = devices.add("gate", NOW_MS)
    assert devices.authenticate(key, NOW_MS) == "door"
    other = open_database(database_path)
    try:
        DeviceStore(other).revoke("door", NOW_MS + 1)
    finally:
        other.close()
    assert devices.authenticate(key, NOW_MS + 1) is None
    assert devices.authenticate(kept, NOW_MS + 1) == "gate"
    door = devices.all()[0]
    assert (door.name, door.revoked_ms) == ("door", NOW_MS + 1)


def test_a_name_has_one_key_until_it_is_revoked(devices):
    first = devices.add("door", NOW_MS)
    with pytest.raises(DeviceError, match="already"):
        devices.add("door", NOW_MS)
    assert devices.authenticate(first, NOW_MS) == "door"
    devices.revoke("door", NOW_MS)
    second = devices.add("door", NOW_MS + 5)
    assert devices.authenticate(first, NOW_MS) is None
    assert devices.authenticate(second, NOW_MS) == "door"
    assert [(device.name, device.created_ms, device.revoked_ms) for device in devices.all()] == [
        ("door", NOW_MS + 5, None)
    ]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "x" * 129, "\u202eevil"])
def test_a_name_that_could_not_be_told_apart_is_refused(devices, name):
    with pytest.raises(DeviceError, match="the name must"):
        devices.add(name, NOW_MS)
    assert devices.all() == []


def test_revoking_what_has_no_key_says_so(devices):
    with pytest.raises(DeviceError, match="no device 'door'"):
        devices.revoke("door", NOW_MS)
    devices.add("door", NOW_MS)
    devices.revoke("door", NOW_MS)
    with pytest.raises(DeviceError, match="no device 'door'"):
        devices.revoke("door", NOW_MS)


def test_whether_there_is_a_key_that_counts(devices):
    assert not devices.has_any()
    devices.add("door", NOW_MS)
    assert devices.has_any()
    devices.revoke("door", NOW_MS)
    assert not devices.has_any()


def test_being_seen_is_written_once_a_minute(devices, database, monkeypatch):
    writes = []
    write = database.write
    monkeypatch.setattr(database, "write", lambda *arguments: (writes.append(arguments), write(*arguments))[1])
    key = devices.add("door", NOW_MS)
    writes.clear()
    assert devices.all()[0].last_seen_ms is None
    for later_ms in (0, 1, SEEN_EVERY_MS - 1, SEEN_EVERY_MS, SEEN_EVERY_MS + 1):
        assert devices.authenticate(key, NOW_MS + later_ms) == "door"
    assert len(writes) == 2
    assert devices.all()[0].last_seen_ms == NOW_MS + SEEN_EVERY_MS


def test_a_clock_that_is_set_back_does_not_end_the_noting(devices):
    key = devices.add("door", NOW_MS)
    devices.authenticate(key, NOW_MS + 10 * SEEN_EVERY_MS)
    devices.authenticate(key, NOW_MS)
    assert devices.all()[0].last_seen_ms == NOW_MS


def test_a_sighting_that_cannot_be_stored_closes_no_door(devices, database, monkeypatch):
    key = devices.add("door", NOW_MS)
    tries = []

    def fail(*_arguments):
        tries.append(1)
        raise DatabaseBusyError("full")

    monkeypatch.setattr(database, "write", fail)
    assert devices.authenticate(key, NOW_MS) == "door"
    assert devices.authenticate(key, NOW_MS + 1) == "door"
    assert len(tries) == 1  # a full disk is not tried at each request
