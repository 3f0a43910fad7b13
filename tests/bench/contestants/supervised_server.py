"""What the other supervisors supervise: waitress around four lines of WSGI, which starts faster than any real server.

`python -m tests.bench.contestants.supervised_server --port PORT`, or `--fd FD` with a listening socket to inherit.
Answers everything with 200 and its pid.
"""

import argparse
import os
import socket
from collections.abc import Callable, Iterable
from typing import Any

from waitress import serve


def answer_pid(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(os.getpid()).encode()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--fd", type=int)
    options = parser.parse_args()
    if options.fd is None:
        serve(answer_pid, host="127.0.0.1", port=options.port)
    else:
        serve(answer_pid, sockets=[socket.socket(fileno=options.fd)])


if __name__ == "__main__":
    main()
