"""Recording what a request asks for, and the answer to it, in one transaction: once, however often it is asked.

Knows the store and the bytes of the answers; knows nothing of Flask. Task threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus

import msgspec

from server_proc.batch import RESULTS, ParsedMark, batch_answer
from server_proc.database import Database, Transaction
from server_proc.idempotency import KeyedRequest, recall, remember
from server_proc.marks import NewMark, mark_message
from server_proc.problems import WrongFieldsError
from server_proc.store import MarkStore, Outcome, Recorded


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What is answered, and how many marks became what."""

    status: HTTPStatus
    body: bytes
    created: int = 0
    duplicate: int = 0
    rejected: int = 0


def answer_once(
    database: Database, keyed: KeyedRequest | None, now_ms: int, make: Callable[[Transaction], Answer]
) -> Answer:
    """Return what `make` answers in a transaction, or what it answered to this request before.

    Raises WrongFieldsError when the key was used for another request, DatabaseError when nothing was stored.
    """
    with database.write() as transaction:
        if keyed is None:
            return make(transaction)
        if (stored := recall(transaction.connection, keyed, now_ms)) is not None:
            return _repeated(stored)
        answer = make(transaction)
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


def record_mark(store: MarkStore, transaction: Transaction, new: NewMark, now_ms: int) -> Answer:
    """Record one mark. Raises WrongFieldsError when its id was sent with another one before."""
    recorded = store.record_in(transaction, new, now_ms)
    # A repetition gets the bytes of the first answer: a void that has come since is no part of them.
    message = mark_message(msgspec.structs.replace(recorded.mark, void_reason=None))
    if recorded.outcome is Outcome.DUPLICATE:
        message["duplicate"] = True
    body = msgspec.json.encode(message)
    if recorded.outcome is Outcome.CREATED:
        return Answer(status=HTTPStatus.CREATED, body=body, created=1)
    return Answer(status=HTTPStatus.OK, body=body, duplicate=1)


def record_batch(store: MarkStore, transaction: Transaction, marks: Sequence[ParsedMark], now_ms: int) -> Answer:
    """Record those marks of a batch that are right."""
    results = [_result(store, transaction, mark, now_ms) for mark in marks]
    body = batch_answer(results)
    counts = {name: body[name] for name in RESULTS}
    return Answer(status=HTTPStatus.OK, body=msgspec.json.encode(body), **counts)


def _result(store: MarkStore, transaction: Transaction, mark: ParsedMark, now_ms: int) -> Recorded | WrongFieldsError:
    if isinstance(mark, WrongFieldsError):
        return mark
    try:
        return store.record_in(transaction, mark, now_ms)
    except WrongFieldsError as error:
        return error
