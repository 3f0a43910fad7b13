"""Examples in the description; a test sends and checks them."""

from __future__ import annotations

from typing import Any

NEW_MARK: dict[str, Any] = {
    "personId": "12345",
    "timestamp": "2026-01-31T09:00:00+01:00",
    "source": "door",
    "id": "8e03978e-40d5-43e8-bc93-6894a57f9324",
}
MARK: dict[str, Any] = {
    "type": "attendance",
    "id": NEW_MARK["id"],
    "markSeq": 17,
    "personId": "12345",
    "timestamp": "2026-01-31T08:00:00.000Z",
    "receivedAt": "2026-01-31T08:00:00.214Z",
    "source": "door",
    "voided": False,
    "voidReason": None,
}
BATCH: dict[str, Any] = {"marks": [NEW_MARK, {"personId": "12346", "timestamp": "2026-01-31T09:00"}]}
BATCH_ANSWER: dict[str, Any] = {
    "created": 1,
    "duplicate": 0,
    "rejected": 1,
    "results": [
        {"result": "created", "mark": MARK},
        {
            "result": "rejected",
            "errors": [
                {
                    "field": "timestamp",
                    "message": 'must be an RFC 3339 timestamp with an offset, such as "2026-01-31T09:00:00+01:00"',
                }
            ],
        },
    ],
}
PERSON: dict[str, Any] = {
    "personId": "12345",
    "name": "Ada Lovelace",
    "group": "Engineering",
    "updatedAt": "2026-01-31T07:55:00.000Z",
}
NEW_PERSON: dict[str, Any] = {"name": "Ada Lovelace", "group": "Engineering"}
PEOPLE_CSV = "personId,name,group\r\n12345,Ada Lovelace,Engineering\r\n12346,Grace Hopper,\r\n"
MESSAGE: dict[str, Any] = {"type": "message", "message": "The canteen opens at noon."}
PROBLEM: dict[str, Any] = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "Wrong: personId.",
    "errors": [{"field": "personId", "message": 'is required: a text such as "12345"'}],
    "requestId": "5f2b6c0e9d3a4c17",
}
