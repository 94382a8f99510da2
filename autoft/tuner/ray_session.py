"""Ray for the length of a search: this machine's own, joined at an address, or borrowed from the caller.

Ray is imported by the thread that joins it, while the search reads its data and measures its model.
"""

import ctypes
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

from autoft.errors import AutoftError, ConfigError, SearchFailedError
from autoft.tuner.layout import Node, Slots
from autoft.tuner.ray_head import RayHead, be_quiet, is_running, not_started
from autoft.tuner.ray_token import MODE

_ANSWER_S = 5.0
"""For a cluster's address to take a connection."""
_JOIN_S = 60.0
"""For a cluster that answers to take this process in."""
_NODES_S = 300.0
"""For a cluster that has just been started to get its first node that can run a trial."""
_SIGACTION_BYTES = 256
"""More than any system's struct sigaction has."""


class RaySession:
    """Ray, joined in the background while the driver decodes, and left if it was entered here.

    Args:
        address: ``auto`` or ``host:port`` of a cluster; None: ``$RAY_ADDRESS``.
        head: a Ray that is being started on this machine, the search's own.

    Raises:
        ConfigError: no cluster can be reached at the address.
    """

    def __init__(self, address: str | None = None, head: RayHead | None = None) -> None:
        self._mine, self._head = not is_running(), head
        if not self._mine and address:
            raise ConfigError(
                f"address: {address} was given, but this process is connected to a Ray already; leave it out, or call "
                "ray.shutdown() before"
            )
        joins = self._mine and head is None
        self.address = _checked(address or os.environ.get("RAY_ADDRESS") or "auto") if joins else ""
        self._until = time.monotonic() + _JOIN_S
        self._error: Exception | None = None
        self._asked = self._unwanted = self._joining = False
        self._turn, self._up = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._join, daemon=True)
        be_quiet()
        if self._mine:
            self._thread.start()

    @property
    def borrowed(self) -> bool:
        """Whether Ray was running before, and will be afterwards."""
        return not self._mine

    @property
    def alone(self) -> bool:
        """Whether it is this machine's and the search's own: no other node can join."""
        return self._head is not None

    def ask_for(self, slots: Slots) -> None:
        """Ask the cluster's autoscaler, if it has one, for room for so many trials, until Ray is left.

        A cluster keeps one such request: it takes the place of an earlier one, also of somebody else's.
        """
        if not self.alone:
            self.ready()
            self._asked = True
            _request(slots.bundles * slots.count)

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
        nodes: list[dict[str, Any]] = import_module("ray").nodes()
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
        if isinstance(self._error, AutoftError):
            raise self._error
        if self.alone and self._error is not None:
            raise not_started(self._error) from self._error
        if self._error is not None or not came:
            raise _unreachable(self.address, self._error or "no answer within a minute") from self._error

    def check(self, go_on: str) -> None:
        """Nothing happens while the processes of a Ray that was started here run.

        Args:
            go_on: the command that goes on with the search.

        Raises:
            SearchFailedError: one of them has ended.
        """
        if self._head is not None and (ended := self._head.ended()):
            raise SearchFailedError(
                f"Ray's own {ended} process has ended (was it killed, or was memory short?), so the search cannot "
                f"go on; nothing is lost, go on with: {go_on}"
            )

    def close(self) -> None:
        """Leave Ray, and stop it if it was started here."""
        if self._asked:
            with suppress(import_module("ray").exceptions.RayError):  # a cluster that is gone has nothing to take back
                _request([])
        if not self._mine:
            return
        with self._turn:
            self._unwanted = True
        if not self._joining and self._head is not None:
            return  # it ends by itself
        if self._up.wait(None if self.alone else max(0.0, self._until - time.monotonic())):
            import_module("ray").shutdown()
            _log_of_workers(on=True)
            self._thread.join()

    def _join(self) -> None:
        try:
            address = self._head.address() if self._head is not None else self.address
            with self._turn:
                self._joining = not self._unwanted
            if self._joining:
                self._connect(address)
        except Exception as error:  # noqa: BLE001 - carried to the thread that waits
            self._error = error
        self._up.set()
        if self._joining:
            import_module("autoft.tuner.ray_runner")  # Ray Tune, while the driver measures and probes

    def _connect(self, address: str) -> None:
        more: dict[str, Any] = {}
        if self._head is not None:
            if MODE not in os.environ:
                os.environ[MODE] = "token"  # as Ray has it where it starts one; it knows by itself only of one
                import_module("ray._raylet").Config.initialize("")  # that it has started in this process
            if self._head.server:
                more["runtime_env"] = {"py_executable": self._head.server.python}
        _log_of_workers(on=False)
        with _sigterm_kept():
            import_module("ray").init(
                address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False, **more
            )


@contextmanager
def ray_session(address: str | None = None, head: RayHead | None = None) -> Iterator[RaySession]:
    """A `RaySession` that is closed whatever happens.

    Raises:
        ConfigError: no cluster can be reached at the address.
    """
    session = RaySession(address, head)
    try:
        yield session
    finally:
        session.close()


def _log_of_workers(*, on: bool) -> None:
    """Whether Ray prints what nodes report, as of a worker that was killed."""
    worker: Any = import_module("ray._private.worker")
    worker._worker_logs_enabled = on


def _request(bundles: Sequence[Mapping[str, float]]) -> None:
    import_module("ray.autoscaler.sdk").request_resources(bundles=list(bundles))


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
    if address == "auto":
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
