"""Ray for the length of a search: started on this machine, joined at an address, or borrowed from the caller."""

import ctypes
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import ray
from ray._private import worker as ray_worker
from ray.autoscaler.sdk import request_resources

from autoft.errors import ConfigError, SearchFailedError
from autoft.tuner.fork_server import fork_server
from autoft.tuner.layout import Node, Slots, card_count, core_count
from autoft.tuner.ray_temp import check_sockets_fit
from autoft.tuner.ray_token import MODE, provide_token

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
_NO_OTHER_WORKERS = ("RAY_prestart_worker_first_driver", "0")
"""Those that Ray starts ahead of need are no forks, and would wait in vain."""
_OBJECT_STORE_BYTES = 200 * 2**20
_HEAD_START_S = 0.2
"""Data that are not there are found within this time; then Ray is not started at all."""
_ANSWER_S = 5.0
"""For a cluster's address to take a connection."""
_JOIN_S = 60.0
"""For a cluster that answers to take this process in."""
_NODES_S = 300.0
"""For a cluster that has just been started to get its first node that can run a trial."""
_LOCAL = "local"
_NICENESS = 5
"""Of a Ray that is started here: it gives way to measuring and the first answer, which do not wait for it."""
_VITAL = {"gcs_server": "GCS", "raylet": "raylet"}
"""Processes of Ray without which it ends the program that uses it, a while later and without a word of ours."""
_SIGACTION_BYTES = 256
"""More than any system's struct sigaction has."""


class RaySession:
    """Ray, started or joined in the background while the driver imports and decodes, and left if it was entered here.

    Args:
        address: ``auto`` or ``host:port`` of a cluster; None: ``$RAY_ADDRESS``, else a Ray of this machine for itself.

    Raises:
        ConfigError: no cluster can be reached there, or Ray cannot start in the temporary folder.
    """

    def __init__(self, address: str | None = None) -> None:
        self._mine = not ray.is_initialized()
        if not self._mine and address:
            raise ConfigError(
                f"address: {address} was given, but this process is connected to a Ray already; leave it out, or call "
                "ray.shutdown() before"
            )
        self.address = _checked(address or os.environ.get("RAY_ADDRESS") or _LOCAL) if self._mine else ""
        if self.alone:
            check_sockets_fit()
        self._until = time.monotonic() + _JOIN_S
        self._error: Exception | None = None
        self._asked = False
        self._unwanted, self._up, self._over = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        logging.getLogger("ray").setLevel(logging.ERROR)
        os.environ.update({key: value for key, value in _QUIET.items() if key not in os.environ})
        if self._mine:
            self._thread.start()

    @property
    def borrowed(self) -> bool:
        """Whether Ray was running before, and will be afterwards."""
        return not self._mine

    @property
    def alone(self) -> bool:
        """Whether it is this machine's and the search's own: no other node can join."""
        return self.address == _LOCAL

    def ask_for(self, slots: Slots) -> None:
        """Ask the cluster's autoscaler, if it has one, for room for so many trials, until Ray is left.

        A cluster keeps one such request: it takes the place of an earlier one, also of somebody else's.
        """
        if not self.alone:
            self.ready()
            self._asked = True
            request_resources(bundles=slots.bundles * slots.count)

    def started_nodes(self, notify: Callable[[str], None]) -> tuple[Node, ...] | None:
        """The same; while no node has a CPU, as when a cluster starts, one is waited for."""
        end, told = time.monotonic() + _NODES_S, False
        while (nodes := self.nodes()) is not None and not any(node.cpus for node in nodes):
            if time.monotonic() >= end:
                break
            if not told:
                notify(f"no node of the cluster has CPUs for trials yet; waiting for one, {_NODES_S:.0f} s at most")
            told = True
            time.sleep(1.0)
        return nodes

    def nodes(self) -> tuple[Node, ...] | None:
        """The living nodes with all that they have, whoever else uses it; None where there is this machine alone."""
        if self.alone:
            return None
        self.ready()
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        found = [node["Resources"] for node in nodes if node["Alive"]]
        return tuple(Node(int(each.get("CPU", 0)), int(each.get("GPU", 0))) for each in found)

    def ready(self) -> None:
        """Wait until Ray is up.

        Raises:
            ConfigError: the cluster at the address did not take this process in.
            SearchFailedError: Ray did not start.
        """
        if not self._mine:
            return
        came = self._up.wait(None if self.alone else max(0.0, self._until - time.monotonic()))
        if self.alone and self._error is not None:
            raise SearchFailedError(
                f"Ray could not be started: {self._error}; nothing is lost, run the same command again when the "
                "machine is less busy; autoft doctor tells what keeps Ray from starting"
            ) from self._error
        if self._error is not None or not came:
            raise _unreachable(self.address, self._error or "no answer within a minute") from self._error

    def check(self, go_on: str) -> None:
        """Nothing happens while the processes of a Ray that was started here run.

        Args:
            go_on: the command that goes on with the search.

        Raises:
            SearchFailedError: one of them has ended.
        """
        node: Any = ray_worker._global_node if self.alone else None
        dead = [kind for kind, _ in node.dead_processes()] if node else []
        if ended := [_VITAL[kind] for kind in dead if kind in _VITAL]:
            raise SearchFailedError(
                f"Ray's own {ended[0]} process has ended (was it killed, or was memory short?), so the search cannot "
                f"go on; nothing is lost, go on with: {go_on}"
            )

    def close(self) -> None:
        """Leave Ray, and stop it if it was started here."""
        if self._asked:
            with suppress(ray.exceptions.RayError):  # a cluster that is gone has nothing to take back
                request_resources(bundles=[])
        if self._mine:
            self._unwanted.set()
            if self._up.wait(None if self.alone else max(0.0, self._until - time.monotonic())):
                ray.shutdown()
                ray_worker._worker_logs_enabled = True
                self._over.set()
                self._thread.join()

    def _live(self) -> None:
        """Start Ray and stay: the kernel ends Ray's processes with the thread that started them."""
        if self.alone and self._unwanted.wait(_HEAD_START_S):
            self._up.set()
            return
        own: dict[str, Any] = {
            "num_cpus": core_count(),
            "num_gpus": card_count(),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }
        try:
            if self.alone:
                _give_way()
                provide_token()
                if server := fork_server():
                    own["runtime_env"] = {"py_executable": server.python}
                    os.environ.setdefault(*_NO_OTHER_WORKERS)
            ray_worker._worker_logs_enabled = False  # of what nodes report, as a killed worker, nothing is printed
            with _sigterm_kept():
                ray.init(
                    address=self.address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    configure_logging=False,
                    **(own if self.alone else {}),
                )
        except Exception as error:  # noqa: BLE001 - carried to the thread that waits
            self._error = error
        self._up.set()
        import_module("autoft.tuner.ray_runner")  # Ray Tune, while the driver measures and probes
        self._over.wait()


def _give_way() -> None:
    """Lower the priority of this thread, and so of the processes that it starts; on Linux a thread has its own."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):  # a sandbox that forbids it: then nothing gives way
            os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICENESS)


@contextmanager
def ray_session(address: str | None = None) -> Iterator[RaySession]:
    """A `RaySession` that is closed whatever happens.

    Raises:
        ConfigError: no cluster can be reached at the address.
    """
    session = RaySession(address)
    try:
        yield session
    finally:
        session.close()


@contextmanager
def _sigterm_kept() -> Iterator[None]:
    """Keep the program's own handler: Ray's, which aborts, takes its place below Python, where any thread may act."""
    libc, action = ctypes.CDLL(None), ctypes.create_string_buffer(_SIGACTION_BYTES)
    libc.sigaction(signal.SIGTERM, None, action)
    try:
        yield
    finally:
        libc.sigaction(signal.SIGTERM, action, None)


def _checked(address: str) -> str:
    """The address, if it has the form of one and something answers there.

    Raises:
        ConfigError: neither.
    """
    if address in {_LOCAL, "auto"}:
        return address
    if "://" in address:
        raise ConfigError(
            f"address: a search cannot be driven from outside of its cluster, at {address}; run it on one of the "
            "cluster's nodes with --address auto"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ConfigError(f"address: must be auto or HOST:PORT of a Ray cluster, got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise _unreachable(address, error.strerror or error) from None
    return address


def _unreachable(address: str, why: object) -> ConfigError:
    while isinstance(why, BaseException) and why.__cause__ is not None:
        why = why.__cause__
    reason = (str(why).strip().splitlines() or [type(why).__name__])[0].rstrip(".")
    token = "" if os.environ.get(MODE) == "token" else ", set RAY_AUTH_MODE=token if it asks for one"
    return ConfigError(
        f"address: no Ray cluster can be joined at {address}: {reason}; start one with ray start --head{token}, or "
        "leave the address (and RAY_ADDRESS) out to search on this machine alone"
    )
