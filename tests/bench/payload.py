"""The one message that every contestant carries."""

import json

PAYLOAD = {
    "type": "attendance",
    "personId": "12345",
    "timestamp": "2026-01-05T08:30:00.125+01:00",
    "source": "reader-1",
    "direction": "in",
}

JSON = json.dumps(PAYLOAD, separators=(",", ":")).encode()
