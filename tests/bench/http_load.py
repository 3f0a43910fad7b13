"""Load over HTTP that costs as little as can be: one thread, raw sockets that are kept alive, answers only counted."""

import json
import select
import socket
import time
from typing import Any

from ipc import SocketClient
from tests.unit.server_proc.running_server import AUTHKEY

PATIENCE_S = 20.0


class Load:
    """Posts to one port of this machine."""

    def post(self, target: tuple[int, str], connections: int, seconds: float) -> float:
        """Keep `connections` requests in flight for a while; return the answers a second."""
        port, _ = target
        run = time.monotonic()  # in every name: the same person again would be a duplicate
        clients = {client.fileno(): client for client in (_connect(port) for _ in range(connections))}
        poller = select.poll()
        for descriptor, client in clients.items():
            poller.register(descriptor, select.POLLIN)
            client.sendall(_request(target, f"{run}-{descriptor}"))
        began = time.monotonic()
        answered = 0
        while time.monotonic() - began < seconds:
            for descriptor, _ in poller.poll(PATIENCE_S * 1000):
                _expect_created(clients[descriptor])
                answered += 1
                clients[descriptor].sendall(_request(target, f"{run}-{descriptor}-{answered}"))
        took_s = time.monotonic() - began
        for client in clients.values():
            _expect_created(client)
            client.close()
        return answered / took_s

    def paced(self, target: tuple[int, str], address: str, count: int, per_s: float) -> dict[str, Any]:
        """Post marks at an even pace; return when each was sent, answered and handled by a client of the channel."""
        port, _ = target
        handled: dict[str, float] = {}
        client = SocketClient(address, authkey=AUTHKEY, name="ui")
        client.add_message_handler(lambda message: handled.setdefault(message["personId"], time.monotonic()))
        client.start()
        client.request({"type": "snapshot", "limit": 0}, PATIENCE_S)
        reader = _connect(port)
        sent: dict[str, float] = {}
        answered: list[float] = []
        seqs: list[int] = []
        due = time.monotonic()
        for n in range(count):
            due += 1 / per_s
            time.sleep(max(0.0, due - time.monotonic()))
            person = f"p{due:.4f}-{n}"
            sent[person] = time.monotonic()
            reader.sendall(_request(target, person))
            seqs.append(_expect_created(reader)["markSeq"])
            answered.append(time.monotonic())
        give_up = time.monotonic() + PATIENCE_S
        while len(handled) < count and time.monotonic() < give_up:
            time.sleep(0.01)
        time.sleep(0.1)  # the last ack
        reader.close()
        client.stop()
        return {"sent": list(sent.values()), "answered": answered, "handled": [handled[p] for p in sent], "seqs": seqs}

    def snapshot(self, address: str, marks: int, rounds: int) -> list[float]:
        """Return how long it took, each time, until a ui had the newest `marks`, in as many pages as it takes."""
        client = SocketClient(address, authkey=AUTHKEY, name="ui")
        client.start()
        client.request({"type": "snapshot", "limit": 0}, PATIENCE_S)
        took_s = []
        for _ in range(rounds):
            began = time.monotonic()
            answer = client.request({"type": "snapshot", "limit": marks}, PATIENCE_S)
            found = len(answer["marks"])
            while found < marks:
                older = {"type": "marks", "beforeSeq": answer["nextBeforeSeq"], "limit": marks - found}
                answer = client.request(older, PATIENCE_S)
                found += len(answer["marks"])
            took_s.append(time.monotonic() - began)
        client.stop()
        return took_s


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return client


def _request(target: tuple[int, str], person: str) -> bytes:
    port, path = target
    body = b'{"personId": "%s"}' % person.encode()
    head = "POST %s HTTP/1.1\r\nHost: localhost:%d\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return (head % (path, port, len(body))).encode() + body


def _expect_created(client: socket.socket) -> Any:
    """Return the decoded body of an answer, which is small and alone on its connection."""
    data = client.recv(1 << 16)
    while True:
        head, separator, body = data.partition(b"\r\n\r\n")
        if separator:
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            if len(body) >= length:
                break
        more = client.recv(1 << 16)
        if not more:
            raise EOFError("the server has hung up")
        data += more
    if not head.startswith(b"HTTP/1.1 201 "):
        raise ValueError(f"answered {head[:40]!r}")
    return json.loads(body) if body.startswith(b'{"') else None
