"""What of Ray's listens on this machine, and whether it asks for a token."""

from collections.abc import Mapping, Sequence

import psutil

from autoft.doctor.facts import Listener

_PROGRAMS = {
    "gcs_server": "Ray's head (gcs_server)",
    "raylet": "Ray's node (raylet)",
    "ray/dashboard/dashboard.py": "Ray's dashboard and job server",
    "ray/dashboard/agent.py": "Ray's dashboard agent",
    "ray.util.client.server": "Ray's client server",
    "ray/_private/runtime_env/agent/main.py": "Ray's environment agent",
}
_PORTS = {8265: "port 8265, Ray's dashboard by default,", 10001: "port 10001, Ray's client server by default,"}
"""Looked at also where the process cannot be seen."""
_MODE = "RAY_AUTH_MODE"


def listeners_here() -> tuple[Listener, ...] | None:
    """All of Ray's; None where the system does not show who listens."""
    try:
        found = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return None
    listening = [(one.laddr, one.pid) for one in found if one.status == psutil.CONN_LISTEN and one.laddr]
    told = [_listener(local.ip, local.port, pid) for local, pid in listening]
    return tuple(sorted({one for one in told if one}, key=lambda one: (one.port, one.address)))


def _listener(address: str, port: int, pid: int | None) -> Listener | None:
    program, token = None, None
    if pid is not None:
        try:
            process = psutil.Process(pid)
            program, token = program_of(process.cmdline()), asks_for_token(process.environ())
        except psutil.Error:
            pass
    elif port in _PORTS:
        program = _PORTS[port]
    return Listener(program, address, port, token) if program else None


def program_of(command: Sequence[str]) -> str | None:
    """What of Ray's a command line starts, if anything."""
    for part in command[:8]:
        for sign, program in _PROGRAMS.items():
            if part == sign or part.endswith(f"/{sign}"):
                return program
    return None


def asks_for_token(environment: Mapping[str, str]) -> bool:
    """Whether a process of Ray's was started to ask for a token."""
    return environment.get(_MODE, "").lower() == "token"
