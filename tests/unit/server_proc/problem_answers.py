"""Looking at an answer that is a problem."""

import json


def problem(answer, status):
    """Check that the answer is a problem of that status; return the names of its wrong fields."""
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = json.loads(answer.data)
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["requestId"] == answer.headers["X-Request-Id"]
    return [error["field"] for error in body["errors"]]
