"""What a ui may ask or tell."""

import json

import msgspec
import pytest
from structlog.testing import capture_logs

from ipc.errors import RequestError
from server_proc import actions
from server_proc.actions import ACTIONS, action_logger, carry_out, register_actions
from server_proc.database_errors import DatabaseFullError
from server_proc.marks import NewMark, mark_message
from server_proc.store import MarkStore

NOW_MS = 1_769_846_400_500
DAY_MS = 24 * 60 * 60 * 1000


@pytest.fixture
def ask(services):
    def ask(kind, **fields):
        return carry_out(ACTIONS[kind], services, {"type": kind, **fields})

    return ask


def refused(ask, kind, **fields):
    """Return the code of the refusal, and what is said of each field."""
    with pytest.raises(RequestError) as caught:
        ask(kind, **fields)
    return caught.value.code, caught.value.message


def wrong_fields(ask, kind, **fields):
    code, message = refused(ask, kind, **fields)
    assert code == "wrong_field"
    return [part.partition(": ")[0] for part in message.split("; ")]


def record(services, count, **fields):
    return [services.store.record(NewMark(person_id=str(n), **fields), NOW_MS)[0] for n in range(count)]


def announced(outbox):
    encoded, _ = outbox.read(0, 1 << 24)
    return [json.loads(line)["payload"] for line in encoded.split(b"\n") if line]


# -- asking for the state ------------------------------------------------------------------------------------------


def test_the_snapshot_has_the_newest_marks_first_the_counts_and_its_seq(services, ask):
    record(services, 2, timestamp_ms=NOW_MS - 2 * DAY_MS)
    marks = record(services, 3)
    answer = ask("snapshot", limit=2)
    assert answer["marks"] == [mark_message(marks[2]), mark_message(marks[1])]
    assert (answer["seq"], answer["total"], answer["today"]) == (5, 5, 3)


def test_a_snapshot_of_nothing(ask):
    answer = ask("snapshot")
    assert (answer["seq"], answer["marks"], answer["people"], answer["total"], answer["today"]) == (0, [], [], 0, 0)
    assert answer["nextBeforeSeq"] is answer["nextAfterPerson"] is None


@pytest.mark.parametrize("limit", [-1, "10", 1.5, None, True, [], 2**63])
def test_a_wrong_limit_is_an_error_that_names_it(ask, limit):
    assert wrong_fields(ask, "snapshot", limit=limit) == ["limit"]


def test_every_wrong_field_of_a_page_is_named(ask):
    assert wrong_fields(ask, "marks", limit="x") == ["beforeSeq", "limit"]
    assert wrong_fields(ask, "people", afterPerson=5) == ["afterPerson"]


def test_a_snapshot_has_as_many_of_the_newest_as_fit_into_a_frame_and_pages_have_the_rest(services, ask, monkeypatch):
    monkeypatch.setattr(actions, "MAX_SNAPSHOT_BYTES", 2000)
    record(services, 20)
    answer = ask("snapshot", limit=10**9)
    assert 3 < len(answer["marks"]) < 10
    assert answer["total"] == 20
    seqs = [mark["markSeq"] for mark in answer["marks"]]
    while answer["nextBeforeSeq"] is not None:
        answer = ask("marks", beforeSeq=answer["nextBeforeSeq"])
        seqs += [mark["markSeq"] for mark in answer["marks"]]
    assert seqs == list(range(20, 0, -1))


# -- marks by hand -------------------------------------------------------------------------------------------------


def test_a_mark_by_hand_is_stored_as_such_and_announced(services, ask, outbox):
    answer = ask("mark", personId="12345", source="door")
    assert answer["isNew"]
    assert (answer["mark"]["personId"], answer["mark"]["source"]) == ("12345", "manual")
    assert announced(outbox) == [answer["mark"]]
    assert services.hub.announced_at == [1]


def test_a_mark_by_hand_that_comes_twice_is_recorded_once(ask, outbox):
    first = ask("mark", personId="12345", id="a")
    again = ask("mark", personId="12345", id="a")
    assert again == first | {"isNew": False}
    assert outbox.newest == 1


def test_a_mark_by_hand_within_the_cool_down_says_so_and_names_the_mark_that_stands(services, outbox, database, clock):
    services = msgspec.structs.replace(services, store=MarkStore(database, outbox, 60_000))
    first = carry_out(ACTIONS["mark"], services, {"type": "mark", "personId": "1", "id": "a"})
    assert "duplicate" not in first
    clock.now_s += 30
    again = carry_out(ACTIONS["mark"], services, {"type": "mark", "personId": "1", "id": "b"})
    assert again == {"type": "mark", "isNew": False, "mark": first["mark"], "duplicate": True}
    assert "duplicate" not in carry_out(ACTIONS["mark"], services, {"type": "mark", "personId": "1", "id": "a"})
    assert outbox.newest == 1


def test_marks_by_hand_that_are_not_stored_are_counted(services, ask):
    def counted(result):
        return services.metrics.registry.get_sample_value("axon_marks_total", {"result": result})

    ask("mark", personId="1", id="a")
    assert (counted("duplicate"), counted("rejected")) == (0, 0)
    ask("mark", personId="1", id="a")
    assert (counted("duplicate"), counted("rejected")) == (1, 0)
    wrong_fields(ask, "mark", personId="")
    wrong_fields(ask, "mark", personId="2", id="a")
    assert (counted("duplicate"), counted("rejected")) == (1, 2)


def test_every_wrong_field_of_a_mark_is_named(ask):
    assert wrong_fields(ask, "mark", personId="", timestamp="yesterday", id=3) == ["personId", "id", "timestamp"]
    assert wrong_fields(ask, "mark") == ["personId"]


# -- voids ---------------------------------------------------------------------------------------------------------


def test_a_void_with_a_reason_is_stored_and_announced(services, ask, outbox):
    (mark,) = record(services, 1)
    answer = ask("void", markId=mark.id, reason="twice", id="v")
    assert answer["isNew"]
    assert answer["void"] == announced(outbox)[-1]
    assert answer["void"]["reason"] == "twice"
    assert ask("void", markId=mark.id, reason="twice", id="v") == answer | {"isNew": False}
    assert ask("snapshot")["marks"][0]["voidReason"] == "twice"


def test_what_cannot_be_voided_has_a_code_of_its_own(services, ask):
    record(services, 1)
    assert refused(ask, "void", markId="nowhere", reason="x")[0] == "unknown_mark"
    ask("void", markSeq=1, reason="twice")
    code, message = refused(ask, "void", markSeq=1, reason="again")
    assert code == "already_voided"
    assert "twice" in message


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({}, ["markId", "reason"]),
        ({"markId": None, "markSeq": None, "reason": None}, ["markId", "reason"]),
        ({"markId": 5, "markSeq": "x", "reason": " ", "id": []}, ["markId", "markSeq", "reason", "id"]),
        ({"markSeq": 0, "reason": "x"}, ["markSeq"]),
        ({"markSeq": True, "reason": "x" * 129}, ["markSeq", "reason"]),
        ({"markSeq": 2**63, "reason": "x\ny"}, ["markSeq", "reason"]),
    ],
)
def test_every_wrong_field_of_a_void_is_named(services, ask, fields, wrong):
    record(services, 1)
    assert sorted(wrong_fields(ask, "void", **fields)) == sorted(wrong)


# -- people --------------------------------------------------------------------------------------------------------


def test_a_person_is_renamed_and_that_is_announced(services, ask, outbox):
    services.people.put("1", "Ada", "Engines", NOW_MS)
    answer = ask("rename", personId="1", name="Ada Lovelace")
    assert answer["person"] == {"type": "person", "personId": "1", "name": "Ada Lovelace", "group": "Engines"}
    assert announced(outbox)[-1] == answer["person"]
    assert services.hub.announced_at == [2]
    assert ask("rename", personId="1", name="Ada Lovelace") == answer
    assert outbox.newest == 2


def test_a_renaming_may_change_the_group_or_take_it_away(ask):
    assert ask("rename", personId="1", name="Ada", group="Engines")["person"]["group"] == "Engines"
    assert ask("rename", personId="1", name="Ada", group=None)["person"]["group"] is None


def test_every_wrong_field_of_a_renaming_is_named(ask):
    assert wrong_fields(ask, "rename") == ["personId", "name"]
    assert wrong_fields(ask, "rename", personId=5, name="\u202ex", group="") == ["personId", "name", "group"]


# -- what may go wrong ---------------------------------------------------------------------------------------------


def test_a_full_disk_is_told_apart(services, ask, monkeypatch):
    def refuse(*_arguments):
        raise DatabaseFullError("full")

    monkeypatch.setattr(services.store, "record_in", refuse)
    assert refused(ask, "mark", personId="1")[0] == "disk_full"


def test_a_database_that_cannot_be_used_is_logged_and_told(services, ask):
    services.database.close()
    with capture_logs() as logs:
        assert refused(ask, "mark", personId="1")[0] == "database_abandoned"
    assert [line["event"] for line in logs] == ["action_failed"]


def test_each_action_is_registered_under_its_own_name(services):
    handlers = {}

    class Server:
        def on_request(self, kind):
            return lambda handler: handlers.update({kind: handler})

        def add_message_handler(self, handler):
            handlers["message"] = handler

    register_actions(Server(), services, log_payloads=False)
    assert set(handlers) == {*ACTIONS, "message"}
    assert handlers["mark"]({"type": "mark", "personId": "1"})["type"] == "mark"
    assert handlers["snapshot"]({"type": "snapshot"})["total"] == 1


# -- messages ------------------------------------------------------------------------------------------------------


def test_a_message_of_the_ui_is_logged_without_its_text():
    with capture_logs() as logs:
        action_logger(False)({"type": "action", "action": "note", "text": "something private"})
    assert logs == [{"event": "action_received", "log_level": "info", "type": "action", "action": "note"}]


def test_its_text_is_logged_when_asked_for():
    payload = {"type": "action", "action": "note", "text": "something private"}
    with capture_logs() as logs:
        action_logger(True)(payload)
    assert logs[0]["payload"] == payload


@pytest.mark.parametrize("label", [None, 5, {"text": "private"}, "private" * 100])
def test_a_label_that_is_none_is_not_logged(label):
    with capture_logs() as logs:
        action_logger(False)({"type": label, "action": label})
    assert (logs[0]["type"], logs[0]["action"]) == (None, None)
