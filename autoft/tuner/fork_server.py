"""A process that has imported what workers need, and forks them: a worker starts in a second of CPU time, not in eight.

Ray starts every worker as a new Python that imports torch and timm for itself. On a machine with few cores that is
the longest part of a search's start. Here one process has them imported; Ray is told, by ``py_executable`` of its
runtime environment, to start `fork_client` as a worker's Python, which asks this one to fork. It does not import Ray,
which reads its environment while it is imported. Linux only.
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
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from autoft.lazily import much_imported
from autoft.tuner import fork_client

_MODULES = ("autoft.tuner.worker", "autoft.tuner.supply", "autoft.tuner.confirmation.runs")
_OF_RAY = ("pandas", "pyarrow.fs", "fsspec", "pydantic", "requests", "jsonschema", "rich")
"""What Ray imports in a worker."""
_OF_WORKERS = ("timm.optim",)
"""What workers alone import: optimizers, and torch's compiler with them."""
_NICENESS = 10
"""Of its imports: the search's own and Ray's start, which are needed first, go before them."""
_LONGEST_SOCKET = 100
"""Bytes of a socket's path; the kernel takes 107."""


class ForkServer:
    """A fork server; it ends with this process, and its forks go on.

    Where nothing stands against it, it is a fork of this process, made by `fork` when what workers need has been
    imported here, as it must be for the search itself: it is imported once, not twice. Else it is a Python of its own,
    which begins to import at once.
    """

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="autoft-"))
        self._socket = self._folder / "fork"
        atexit.register(shutil.rmtree, self._folder, ignore_errors=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self._socket))
        self._listener.listen()  # who comes before all is imported waits
        self.process: subprocess.Popen[bytes] | None = None
        if not _may_fork():
            self._spawn()

    @property
    def python(self) -> str:
        """The command that Ray is to take for a worker's Python."""
        return shlex.join([sys.executable, "-I", "-S", fork_client.__file__, str(self._socket)])

    def fork(self) -> None:
        """Import what workers need, and be forked if the server is not running yet.

        Where a first attempt was broken off, and a fork could no longer be made safely, it becomes a Python of its own.
        """
        if self._listener.fileno() < 0:
            return
        if not _may_fork():
            self._spawn()
            return
        _import(_MODULES)
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # as in a program without a terminal
                stream.flush()
        theirs, mine = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads: those of OpenBLAS, which knows of forks
            child = os.fork()
        if child == 0:
            try:
                _cast_off(self._listener.fileno(), theirs)
                _run_script(serve(self._folder, self._listener))
            finally:
                os._exit(1)  # whatever happens, this process never goes on as its parent
        os.close(theirs)
        self._end = mine  # the server ends when it closes, as it does with this process
        self._listener.close()

    def _spawn(self) -> None:
        with self._listener as listener:
            self.process = subprocess.Popen(  # noqa: S603 - this package itself
                [sys.executable, "-P", "-m", __name__, str(self._folder), str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                env={"OMP_NUM_THREADS": "1", **os.environ},  # as Ray does; without threads nothing is lost by a fork
                process_group=0,
            )


@cache
def fork_server() -> ForkServer | None:
    """This process's fork server, made by the first call; None where there can be none."""
    if sys.platform != "linux" or len(tempfile.gettempdir()) > _LONGEST_SOCKET - len("/autoft-12345678/fork"):
        return None
    return ForkServer()


def _may_fork() -> bool:
    """Whether a fork of this process can be what a new Python would be: no other thread, no torch that has computed."""
    alone = threading.active_count() == 1 and threading.current_thread() is threading.main_thread()
    return alone and sys.gettrace() is None and not any(name in sys.modules for name in ("torch", "ray"))


def serve(folder: Path, listener: socket.socket) -> str:
    """Import, then fork a process for each client; gives, in the forks alone, the script that each is to run.

    It ends with the process that started it, and removes its folder.
    """
    threading.Thread(target=_end_with_parent, args=(folder,), daemon=True).start()
    importing = threading.Thread(target=_import_giving_way)
    importing.start()
    importing.join()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the forks
    gc.freeze()
    gc.enable()  # a fork that is made amid imports has it off
    with listener:
        while True:
            client, _ = listener.accept()
            with client, suppress(OSError, ValueError):  # a client that is gone
                order, streams = _received(client)
                if os.fork() == 0:
                    return _taken_up(order, streams, os.dup(client.fileno()))
                for stream in streams:
                    os.close(stream)


def _import(modules: Sequence[str]) -> None:
    with much_imported():
        for module in modules:
            importlib.import_module(module)


def _import_giving_way() -> None:
    """Import with a lower priority of this thread; on Linux each has its own, and the forks are another's."""
    with suppress(OSError):  # a sandbox that forbids it: then nothing gives way
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + _NICENESS)
    _import((*_MODULES, *_OF_RAY, *_OF_WORKERS))


def _cast_off(listener: int, parent: int) -> None:
    """In a fork: let go of what is the parent's: its files, streams, signals, threads, and what it does at its end.

    Args:
        listener: stays open.
        parent: the end of a pipe that the parent holds; becomes standard input.
    """
    os.setpgid(0, 0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(parent, 0)
    os.dup2(nothing, 1)
    os.dup2(nothing, 2)
    for number in {int(file.name) for file in Path("/proc/self/fd").iterdir()} - {0, 1, 2, listener, nothing}:
        os.dup2(nothing, number, inheritable=False)  # not closed: what still writes there must not meet another file
    sys.stdin, sys.stdout, sys.stderr = sys.__stdin__, sys.__stdout__, sys.__stderr__
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)):
            signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    atexit._clear()  # as multiprocessing does
    sys.modules["torch"].set_num_threads(1)  # as Ray has it for workers, by OMP_NUM_THREADS
    sys.modules["threadpoolctl"].threadpool_limits(1)


def _run_script(path: str) -> NoReturn:
    """Run it as Python runs a script, and end with it."""
    code: Any = 1
    try:
        runpy.run_path(path, run_name="__main__")
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
        if not isinstance(code, int):
            os.write(2, f"{code}\n".encode())
            code = 1
    except BaseException:  # noqa: BLE001 - told as Python does
        traceback.print_exc()
    with suppress(BaseException):
        threading._shutdown()  # type: ignore[attr-defined] # waits for its threads
        atexit._run_exitfuncs()
        sys.stderr.flush()
        sys.stdout.flush()
    os._exit(code)


def _end_with_parent(folder: Path) -> None:
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
    _run_script(serve(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))))
