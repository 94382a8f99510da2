"""Asking the nodes of a cluster, through a process that is ended when it does not come to an end."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from autoft.doctor.finding import Report
from autoft.doctor.nodes import report_of
from autoft.errors import ConfigError, RunError

_CONNECT_S = 5.0
_JOIN_S = 60.0
_AROUND_S = 90.0
"""For processes to start on the nodes, beside the time for the answer."""


def reports_of(address: str, runs: Path, *, seconds: float = 120.0, join_s: float = _JOIN_S) -> list[Report]:
    """What every node of a cluster says of itself.

    Args:
        address: ``auto`` or ``HOST:PORT`` on a node of it, ``ray://HOST:PORT`` from elsewhere.
        runs: the folder of all runs, as the nodes see it.
        seconds: how long each node may take.
        join_s: how long the cluster may take to let us in.

    Raises:
        ConfigError: not such an address.
        RunError: no cluster answers there.
    """
    _check_open(address)
    question = ["-m", "autoft", "doctor", "--json", f"--storage-path={runs.absolute()}"]
    with tempfile.TemporaryDirectory(prefix="autoft-doctor-") as folder:
        file, joined = Path(folder) / "answers.json", Path(folder) / "answers.joined"
        command = [sys.executable, "-m", "autoft.tuner.ray_nodes", str(file), address, str(seconds), *question]
        trouble = _run(command, joined, join_s=join_s, answer_s=seconds + _AROUND_S)
        if not file.is_file():
            raise RunError(
                f"--address: no Ray cluster answers at {address}: {trouble}; check that it runs, and its token"
            )
        answers = json.loads(file.read_text(encoding="utf-8"))
    return [report_of(each["node"], each["output"], each["trouble"]) for each in answers]


def _check_open(address: str) -> None:
    """Whether somebody listens there: Ray itself tries for a long time."""
    if address == "auto":
        return
    parts = urlsplit(address if "://" in address else f"//{address}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if parts.scheme not in {"", "ray"} or not host or not port:
        raise ConfigError(f"--address: must be auto, HOST:PORT, ray://HOST:PORT or http://HOST:PORT, got {address!r}")
    try:
        socket.create_connection((host, port), timeout=_CONNECT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"--address: nobody answers at {address}: {reason}; check host, port and whether Ray runs"
        ) from None


def _run(command: list[str], joined: Path, *, join_s: float, answer_s: float) -> str:
    """Run a process and all it starts, for so long; the last line of what it had to complain of.

    Args:
        command: of the process.
        joined: the file that it makes when the cluster has let it in.
        join_s: the time until then.
        answer_s: the time from then on.
    """
    process = subprocess.Popen(  # noqa: S603 - arguments, not a shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        for seconds in (join_s, answer_s):
            try:
                _, told = process.communicate(timeout=seconds)
            except subprocess.TimeoutExpired:
                if not joined.exists():
                    break
            else:
                return next((line.strip() for line in reversed(told.splitlines()) if line.strip()), "it ended silently")
        return f"no answer within {seconds:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
