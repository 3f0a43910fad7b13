"""Recording what a request asks for, and the answer to it, in one transaction: once, however often it is asked.

Knows the store and the bytes of the answers; knows nothing of Flask. Runs on the thread that writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from typing import Generic, TypeVar

import msgspec

from server_proc.batch import RESULTS, ParsedMark, batch_answer
from server_proc.database import Transaction
from server_proc.idempotency import KeyedRequest, recall, remember
from server_proc.marks import NewMark, mark_message
from server_proc.problems import WrongFieldsError
from server_proc.store import MarkStore, Outcome, Recorded

Asked = TypeVar("Asked")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered, and how many marks became what."""

    status: HTTPStatus
    body: bytes
    created: int = 0
    duplicate: int = 0
    rejected: int = 0


class Wanted(msgspec.Struct, Generic[Asked], frozen=True, kw_only=True):
    """What a request asks for, when it came, and its idempotency key, if it has one."""

    asked: Asked
    now_ms: int
    keyed: KeyedRequest | None = None


def record_marks(
    store: MarkStore, transaction: Transaction, requests: Sequence[Wanted[NewMark]]
) -> list[Answer | WrongFieldsError]:
    """Record a mark for each request; WrongFieldsError where the mark's id, or the key, was used for another one."""
    plain = [(each.asked, each.now_ms) for each in requests if each.keyed is None]
    recorded = iter(store.record_many(transaction, plain))

    def answer(request: Wanted[NewMark]) -> Answer | WrongFieldsError:
        if request.keyed is None:
            found = next(recorded)
            return found if isinstance(found, WrongFieldsError) else _mark_answer(found)
        make = partial(store.record_in, transaction, request.asked, request.now_ms)
        return _once(transaction, request.keyed, request.now_ms, lambda: _mark_answer(make()))

    return [answer(request) for request in requests]


def record_batches(
    store: MarkStore, transaction: Transaction, requests: Sequence[Wanted[list[ParsedMark]]]
) -> list[Answer | WrongFieldsError]:
    """Record the right ones of each request's marks; WrongFieldsError where the key was used for another request."""

    def answer(request: Wanted[list[ParsedMark]]) -> Answer | WrongFieldsError:
        make = partial(_record_batch, store, transaction, request.asked, request.now_ms)
        return make() if request.keyed is None else _once(transaction, request.keyed, request.now_ms, make)

    return [answer(request) for request in requests]


def _once(
    transaction: Transaction, keyed: KeyedRequest, now_ms: int, make: Callable[[], Answer]
) -> Answer | WrongFieldsError:
    """Return what `make` answers, or what it answered to this request before."""
    try:
        if (stored := recall(transaction.connection, keyed, now_ms)) is not None:
            return _repeated(stored)
        answer = make()
    except WrongFieldsError as error:
        return error
    remember(transaction.connection, keyed, answer.body, now_ms)
    return answer


class _Counted(msgspec.Struct):
    """What the answer to a batch says of its marks; that to a single mark has no "created"."""

    created: int | None = None
    duplicate: int | bool = False
    rejected: int = 0


def _repeated(body: bytes) -> Answer:
    """Return an answer once more: what was created then is asked for in vain now."""
    before = msgspec.json.decode(body, type=_Counted)
    if before.created is None:
        return Answer(status=HTTPStatus.OK, body=body, duplicate=1)
    return Answer(
        status=HTTPStatus.OK, body=body, duplicate=before.created + before.duplicate, rejected=before.rejected
    )


def _mark_answer(recorded: Recorded) -> Answer:
    # A repetition gets the bytes of the first answer: a void that has come since is no part of them.
    mark = recorded.mark
    message = mark_message(mark if mark.void_reason is None else msgspec.structs.replace(mark, void_reason=None))
    if recorded.outcome is Outcome.DUPLICATE:
        message["duplicate"] = True
    body = msgspec.json.encode(message)
    if recorded.outcome is Outcome.CREATED:
        return Answer(status=HTTPStatus.CREATED, body=body, created=1)
    return Answer(status=HTTPStatus.OK, body=body, duplicate=1)


def _record_batch(store: MarkStore, transaction: Transaction, marks: Sequence[ParsedMark], now_ms: int) -> Answer:
    right = [(mark, now_ms) for mark in marks if not isinstance(mark, WrongFieldsError)]
    recorded = iter(store.record_many(transaction, right))
    body = batch_answer([mark if isinstance(mark, WrongFieldsError) else next(recorded) for mark in marks])
    counts = {name: body[name] for name in RESULTS}
    return Answer(status=HTTPStatus.OK, body=msgspec.json.encode(body), **counts)
