"""A PostgreSQL server of its own for a test: loopback only, a password, nothing left behind."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from importlib.util import find_spec
from pathlib import Path

import pytest

PASSWORD = "hunter2-hunter2"


def programs():
    """The folder of the newest initdb and pg_ctl, or None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    return found[-1].parent if found else None


def why_not():
    """Why no server can be started here, or None."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian's package postgresql)"
    if find_spec("psycopg") is None:
        return "the driver of PostgreSQL is not installed (the extra postgres)"
    if os.getuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Postgres:
    """A server that can be stopped and started again. `url` has the password, `open_url` has not."""

    def __init__(self, *, fsync=False):
        self.folder = Path(tempfile.mkdtemp(prefix="autoft-postgres-", dir="/tmp"))
        self.data, self.port = self.folder / "data", free_port()
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        if os.getuid() == 0:
            for path in (self.folder, secret):
                shutil.chown(path, "postgres", "postgres")
        self._run("initdb", "--auth=scram-sha-256", "--username=me", f"--pwfile={secret}", "--no-sync")
        with (self.data / "postgresql.conf").open("a") as settings:
            settings.write(f"listen_addresses='127.0.0.1'\nunix_socket_directories='{self.folder}'\n")
            settings.write(f"fsync={'on' if fsync else 'off'}\n")
        self.start()

    @property
    def open_url(self):
        return f"postgresql+psycopg://me@127.0.0.1:{self.port}/postgres"

    @property
    def url(self):
        return self.open_url.replace("me@", f"me:{PASSWORD}@")

    def start(self):
        self._run("pg_ctl", "start", "--wait", "--timeout=120", f"--options=-p {self.port}", f"--log={self.folder}/log")

    def stop(self):
        """As when the machine dies: every connection is cut."""
        self._run("pg_ctl", "stop", "--wait", "--timeout=120", "--mode=immediate")

    def close(self):
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, program, *arguments):
        user = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}
        command = [programs() / program, "-D", self.data, *arguments]
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **user
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"


def serving():
    """A server for the length of a fixture; skips where there can be none."""
    if reason := why_not():
        pytest.skip(reason)
    server = Postgres()
    yield server
    server.close()
