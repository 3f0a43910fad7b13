"""HTTP servers under load: the real server child, and empty Flask routes on the same waitress."""

import logging
import os
import sqlite3
import tempfile
import threading
import time
import uuid
from contextlib import closing
from pathlib import Path

from flask import Flask
from waitress import create_server  # type: ignore[import-untyped]

from ipc.peer import Peer
from launcher import child_logs
from server_proc.http_crowd import CONNECTION_LIMIT
from server_proc.http_server import THREADS, HttpServer
from server_proc.main import DATABASE_NAME, run
from tests.unit.server_proc.running_server import DEADLINE_S, Context, Sockets

DAYS = 200  # that the stored marks are spread over
_DAY_MS = 24 * 3600 * 1000


def _empty_route() -> Flask:
    app = Flask("empty", static_folder=None, template_folder=None)
    app.add_url_rule("/empty", view_func=lambda: ("{}", 201), methods=["POST"])
    return app


class EmptyRoute:
    """An empty Flask route on waitress as it comes, with the settings that we give it."""

    def __init__(self) -> None:
        self._sockets = Sockets(Path(tempfile.mkdtemp(prefix="axon-b-")))
        logging.getLogger("waitress.queue").disabled = True  # as our server has it
        server = create_server(
            _empty_route(),
            sockets=[self._sockets.http_socket],
            threads=THREADS,
            connection_limit=CONNECTION_LIMIT,
            channel_timeout=5,
            cleanup_interval=2,
            asyncore_use_poll=True,
        )
        threading.Thread(target=server.run, daemon=True).start()

    def port(self) -> int:
        port: int = self._sockets.port
        return port


class OurEmptyRoute:
    """The same on our HttpServer, which is waitress with what we changed in it."""

    def __init__(self) -> None:
        self._sockets = Sockets(Path(tempfile.mkdtemp(prefix="axon-b-")))
        server = HttpServer(_empty_route().wsgi_app, self._sockets.http_socket)
        threading.Thread(target=server.run, daemon=True).start()

    def port(self) -> int:
        port: int = self._sockets.port
        return port


class MarksServer:
    """The server child as the launcher runs it: its log lines are written, to nowhere."""

    def __init__(self) -> None:
        child_logs.redirect_output(os.open(os.devnull, os.O_WRONLY))
        child_logs.configure("info")
        self._directory = Path(tempfile.mkdtemp(prefix="axon-b-"))
        self._sockets = Sockets(self._directory)
        context = Context(self._sockets.settings(self._directory), self._sockets.listener, self._sockets.http_socket)
        self._acks: list[tuple[int, float]] = []
        self._note_acks()
        threading.Thread(target=run, args=(context,), daemon=True).start()
        assert context.is_ready.wait(DEADLINE_S)

    def port(self) -> int:
        port: int = self._sockets.port
        return port

    def socket(self) -> str:
        path: str = self._sockets.path
        return path

    def acks(self) -> list[tuple[int, float]]:
        """Return what was acknowledged and when, by the monotonic clock."""
        return self._acks

    def fill(self, count: int) -> None:
        """Store marks the fast way, as if they had been posted over many days; their messages are long gone."""
        now_ms = time.time_ns() // 1_000_000
        with closing(sqlite3.connect(self._directory / DATABASE_NAME, timeout=DEADLINE_S)) as connection, connection:
            connection.executemany(
                "INSERT INTO marks (id, person_id, timestamp_ms, received_ms, source) VALUES (?, ?, ?, ?, 'door')",
                (
                    (str(uuid.uuid4()), str(n % 5000), moment_ms, moment_ms)
                    for n in range(count)
                    for moment_ms in (now_ms - (count - n) * (DAYS * _DAY_MS // count),)
                ),
            )

    def _note_acks(self) -> None:
        acks, note = self._acks, Peer._note_ack

        def note_with_time(peer: Peer, seq: int) -> None:
            acks.append((seq, time.monotonic()))
            note(peer, seq)

        Peer._note_ack = note_with_time  # type: ignore[method-assign]
