"""A process that has imported what workers need, and forks them: a worker starts in a second of CPU time, not in eight.

Ray starts every worker as a new Python that imports torch and timm for itself. On a machine with few cores that is
the longest part of a search's start. Here one process imports them while the driver does the same; Ray is told, by
``py_executable`` of its runtime environment, to start `fork_client` as a worker's Python, which asks this one to fork.
It does not import Ray, which reads its environment while it is imported. Linux only.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from autoft.lazily import much_imported
from autoft.tuner import fork_client

_MODULES = ("autoft.tuner.worker", "autoft.tuner.supply", "autoft.tuner.confirmation.runs")
_OF_RAY = ("pandas", "pyarrow.fs", "fsspec", "pydantic", "requests", "jsonschema", "rich")
"""What Ray imports in a worker."""
_LONGEST_SOCKET = 100
"""Bytes of a socket's path; the kernel takes 107."""


class ForkServer:
    """A running fork server; it ends with this process, and its forks go on."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="autoft-"))
        self._socket = self._folder / "fork"
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(self._socket))
            listener.listen()  # who comes before all is imported waits
            self.process = subprocess.Popen(  # noqa: S603 - this package itself
                [sys.executable, "-P", "-m", __name__, str(self._folder), str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                env={"OMP_NUM_THREADS": "1", **os.environ},  # as Ray does; without threads nothing is lost by a fork
                start_new_session=True,
            )

    @property
    def python(self) -> str:
        """The command that Ray is to take for a worker's Python."""
        return shlex.join([sys.executable, "-I", "-S", fork_client.__file__, str(self._socket)])


@cache
def fork_server() -> ForkServer | None:
    """This process's fork server, started by the first call; None where there can be none."""
    if sys.platform != "linux" or len(tempfile.gettempdir()) > _LONGEST_SOCKET - len("/autoft-12345678/fork"):
        return None
    return ForkServer()


def begin(address: str | None) -> None:
    """Start the fork server before anything large is imported, if Ray will be this machine's and the search's own."""
    ray = sys.modules.get("ray")
    running = ray is not None and ray.is_initialized()
    if not (running or address or os.environ.get("RAY_ADDRESS")):
        fork_server()


def serve(folder: str, listener: int) -> str:
    """Import, then fork a process for each client; gives, in the forks alone, the script that each is to run.

    It ends with the process that started it, and removes its folder.
    """
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    with socket.socket(fileno=listener) as server:
        with much_imported():
            for module in (*_MODULES, *_OF_RAY):
                importlib.import_module(module)
        gc.collect()
        gc.freeze()
        while True:
            client, _ = server.accept()
            with client, suppress(OSError, ValueError):  # a client that is gone
                order, streams = _received(client)
                if os.fork() == 0:
                    return _taken_up(order, streams, os.dup(client.fileno()))
                for stream in streams:
                    os.close(stream)


def _end_with_parent(folder: str) -> None:
    """The other end of standard input closes when the parent ends, however it ends."""
    os.read(0, 1)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)


def _received(client: socket.socket) -> tuple[fork_client.Order, list[int]]:
    head, streams, _, _ = socket.recv_fds(client, fork_client.HEAD, len(fork_client.STREAMS))
    size, content = int.from_bytes(head, "big"), b""
    while len(content) < size and (part := client.recv(size - len(content))):
        content += part
    return json.loads(content), streams


def _taken_up(order: fork_client.Order, streams: list[int], client: int) -> str:
    """Be what a new Python would be; the client, told so, waits until this process ends and its end closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setpgid(0, 0)  # whoever ends the process group of one worker ends neither the server nor the others
    for number, stream in zip(fork_client.STREAMS, streams, strict=True):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = order["arguments"]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    os.write(client, fork_client.FORKED)
    return sys.argv[0]


if __name__ == "__main__":
    runpy.run_path(serve(sys.argv[1], int(sys.argv[2])), run_name="__main__")
