"""What Ray starts as a worker's Python where there is a fork server: it has the server fork the worker instead.

It runs as a script, without site-packages, with the server's socket as the first argument and then what a worker's
Python is given. Where no server answers it becomes that Python itself: slower, and the same.
"""

import json
import os
import socket
import sys
from pathlib import Path
from typing import TypedDict

HEAD = 4
"""Bytes that give the size of an order."""
STREAMS = (0, 1, 2)
FORKED = b"f"


class Order(TypedDict):
    """What makes a fork the process that its client is."""

    arguments: list[str]
    folder: str
    environment: dict[str, str]


def forked(path: str, arguments: list[str]) -> bool:
    """Whether the server at the socket forked a process with this one's folder, environment and streams.

    Returns when that process has ended.
    """
    order = Order(arguments=arguments, folder=str(Path.cwd()), environment=dict(os.environ))
    content = json.dumps(order).encode()
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(path)
            socket.send_fds(server, [len(content).to_bytes(HEAD, "big")], list(STREAMS))
            server.sendall(content)
            answer = server.recv(1)
            while server.recv(1):
                pass
    except OSError:
        return answer == FORKED
    return answer == FORKED


if __name__ == "__main__":
    if not forked(sys.argv[1], sys.argv[2:]):
        os.execv(sys.executable, [sys.executable, *sys.argv[2:]])  # noqa: S606 - what Ray asked for
