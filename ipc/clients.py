"""What the server remembers of each client over its connections, so that a resent message is handled once."""

import collections
import threading


class ClientRecord:
    """`last_id` is the newest id of this client that was handled, `owner` its newest connection, the one that may.

    `lock` is held while a message is being handled.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.last_id = 0
        self.owner: object = None
        self.connections = 0


class ClientRecords:
    """Records by client uuid. Beyond `max_clients` the one that left first is forgotten, never one that is here."""

    def __init__(self, max_clients: int) -> None:
        self._max_clients = max_clients
        self._lock = threading.Lock()
        self._present: dict[str, ClientRecord] = {}
        self._departed: collections.OrderedDict[str, ClientRecord] = collections.OrderedDict()

    def arrive(self, client: str) -> ClientRecord:
        """Return the record of `client`, a new one if it is not known, and keep it until it departs."""
        with self._lock:
            record = self._present.get(client) or self._departed.pop(client, None) or ClientRecord()
            self._present[client] = record
            record.connections += 1
            return record

    def depart(self, client: str) -> None:
        """Note that a connection of `client` has ended."""
        with self._lock:
            record = self._present[client]
            record.connections -= 1
            if record.connections == 0:
                self._departed[client] = self._present.pop(client)
                if len(self._present) + len(self._departed) > self._max_clients:
                    self._departed.popitem(last=False)
