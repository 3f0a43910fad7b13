"""What the server remembers of each client over its connections, so that a resent message is handled once."""

import collections
import threading


class ClientRecord:
    """`last_id` is the newest id of this client that was handled. `lock` is held while one is being handled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last_id = 0


class ClientRecords:
    """Records by client uuid; the one not seen for longest makes room."""

    def __init__(self, max_clients: int) -> None:
        self._max_clients = max_clients
        self._lock = threading.Lock()
        self._records: collections.OrderedDict[str, ClientRecord] = collections.OrderedDict()

    def get(self, client: str) -> ClientRecord:
        """Return the record of `client`, a new one if it is not known."""
        with self._lock:
            record = self._records.setdefault(client, ClientRecord())
            self._records.move_to_end(client)
            if len(self._records) > self._max_clients:
                self._records.popitem(last=False)
            return record
