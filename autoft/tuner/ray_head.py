"""A Ray of this machine, the search's own, that starts while this process imports what it needs.

Ray's processes take some five seconds of CPU time to start, and this one imports for eight before it could start them:
so another one, `ray_keeper`, does on another core meanwhile. It ends with this one, and Ray's processes with it.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue

from autoft.errors import SearchFailedError
from autoft.tuner.fork_server import ForkServer, fork_server
from autoft.tuner.ray_temp import check_sockets_fit
from autoft.tuner.ray_token import provide_token

_QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_WARN_SLOW_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "1000000",
}
LOCAL = "local"
"""The address, in Ray's words, of a Ray that is started here."""
_NO_OTHER_WORKERS = {"RAY_prestart_worker_first_driver": "0"}
"""Those that Ray starts ahead of need are no forks, and would wait in vain."""
_SHUT_S = 30.0


def be_quiet() -> None:
    """See to it that Ray, in this process and those that it starts, prints nothing and reports nothing home."""
    logging.getLogger("ray").setLevel(logging.ERROR)
    os.environ.update({key: value for key, value in _QUIET.items() if key not in os.environ})


def is_running() -> bool:
    """Whether this process is connected to a Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and ray.is_initialized()


def not_started(why: object) -> SearchFailedError:
    """The error of a Ray that could not be started here."""
    return SearchFailedError(
        f"Ray could not be started: {why}; nothing is lost, run the same command again when the machine is less busy; "
        "autoft doctor tells what keeps Ray from starting"
    )


class RayHead:
    """Ray's processes on this machine, being started from now on.

    Args:
        server: whose forks will be the workers, if there is one.

    Raises:
        ConfigError: Ray cannot start in the temporary folder.
    """

    def __init__(self, server: ForkServer | None) -> None:
        check_sockets_fit()
        provide_token()
        self.server, self._address = server, ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "autoft.tuner.ray_keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**_QUIET, **(_NO_OTHER_WORKERS if server else {}), **os.environ},
            process_group=0,
        )
        self._answers: SimpleQueue[dict[str, str]] = SimpleQueue()

    def address(self) -> str:
        """``host:port`` at which Ray listens, once it does.

        Raises:
            SearchFailedError: it could not be started.
        """
        if not self._address:
            told = self._next()
            threading.Thread(target=self._hear, daemon=True).start()
            if "address" not in told:
                raise not_started(told.get("error", "the process that starts it has ended"))
            self._address = told["address"]
        return self._address

    def ended(self) -> str | None:
        """The name of a process of Ray that has ended by itself."""
        try:
            return self._answers.get_nowait().get("ended", "head")
        except Empty:
            return None

    def close(self) -> None:
        """Have Ray's processes end, and wait until they have; those that are still starting end when they have."""
        assert self._process.stdin is not None
        if self._process.stdin.closed:
            return
        self._process.stdin.close()
        if self._address:
            self._end()
        else:
            threading.Thread(target=self._end, daemon=True).start()

    def _end(self) -> None:
        assert self._process.stdout is not None
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=_SHUT_S)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _hear(self) -> None:
        self._answers.put(self._next())

    def _next(self) -> dict[str, str]:
        """What the process says next; nothing if it has ended."""
        assert self._process.stdout is not None
        told: dict[str, str] = json.loads(self._process.stdout.readline() or "{}")
        return told


@contextmanager
def begun(address: str | None) -> Iterator[RayHead | None]:
    """Have Ray and the fork server start before anything large is imported; None if Ray will be a running one."""
    if is_running() or (address or os.environ.get("RAY_ADDRESS") or LOCAL) != LOCAL:
        yield None
        return
    head = RayHead(fork_server())
    try:
        yield head
    finally:
        head.close()
