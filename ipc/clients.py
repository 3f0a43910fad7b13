"""What the server remembers of each client over its connections, so that a resent message is handled once."""

import collections
import threading


class ClientRecord:
    """`last_id` is the newest id of this client that was handled. Only its newest connection, the `owner`, may handle.

    `lock` guards the fields, `turn` tells of their changes; no handler runs under them.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.turn = threading.Condition(self.lock)
        self.last_id = 0
        self.connections = 0
        self.owner: object = None
        self.is_busy = False

    def take_over(self, owner: object, timeout_s: float) -> int | None:
        """Make `owner` the connection whose messages count; return the last id that was handled before.

        A message that an older connection is in the middle of is its last, and is waited for. None when that takes
        longer than `timeout_s`, or a still newer connection has come.
        """
        with self.turn:
            self.owner = owner
            self.turn.notify_all()
            self.turn.wait_for(lambda: not self.is_busy or self.owner is not owner, timeout_s)
            return None if self.is_busy or self.owner is not owner else self.last_id

    def begin(self, owner: object, number: int) -> bool | None:
        """Claim a message for `owner`: True to handle it, False if it has been, None if it is not for `owner` to do."""
        with self.lock:
            if self.owner is not owner:
                return None
            if number <= self.last_id:
                return False
            self.last_id = number
            self.is_busy = True
            return True

    def end(self) -> None:
        """Give back what `begin` has claimed."""
        with self.turn:
            self.is_busy = False
            self.turn.notify_all()


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
                record.owner = None  # it has buffers, and the record outlives it
                del self._present[client]
                if not record.last_id:
                    return  # it has said nothing, and there is nothing to remember
                self._departed[client] = record
                if len(self._present) + len(self._departed) > self._max_clients:
                    self._departed.popitem(last=False)
