"""A cluster in memory that runs autoft's own jobs, and a real one."""

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from pictures import write_pictures
from submitter_contract import FAILING

from autoft.errors import AutoftError
from autoft.jobs.job import new_id
from autoft.jobs.memory import MemorySubmitter
from autoft.jobs.order import ENTRYPOINT, TAKEN, read_order, versions
from autoft.jobs.package import packaged
from autoft.jobs.transfer import sent

TOKEN = "0123456789abcdef" * 4


class Head:
    """A cluster's head in a folder: searches write the files they are told to, senders send them."""

    def __init__(self, home, *, versions=None, files=()):
        self.home, self.files = home, dict(files)
        self.submitter = MemorySubmitter(self.play, (versions or own_versions())["ray"])
        self.packages = []

    def play(self, entrypoint, package):
        assert entrypoint == ENTRYPOINT
        folder = self.home / f"package{len(self.packages)}"
        with zipfile.ZipFile(package) as archive:
            archive.extractall(folder)
        self.packages.append(folder)
        return self._lines(read_order(folder))

    def _lines(self, order):
        run = Path(order.place(self.home))
        yield f"Runtime env is setting up.\n{TAKEN}{run} on the cluster\n"
        try:
            if order.verb == "send":
                for line in sent(run, order.have):
                    yield f"{line}\n"
                while True:
                    yield ""
            run.mkdir(parents=True, exist_ok=True)
            for name, content in self.files.items():
                (run / name).write_bytes(content)
                yield f"wrote {name}\n"
        except AutoftError as error:
            yield f"error: {error}\n"
            raise SystemExit(error.exit_code) from None


def own_versions():
    return versions()


@pytest.fixture
def head(tmp_path):
    """Makes heads in a folder of their own."""
    (tmp_path / "head").mkdir()
    return lambda **more: Head(tmp_path / "head", **more)


@pytest.fixture(scope="module")
def package():
    """A package for the jobs of the submitters' contract."""
    with packaged({"greeting": "hello\n"}) as path:
        yield path


@pytest.fixture(scope="module")
def failed(submitter, package):
    """Id and log of a job that was followed to its end, as in a notebook: while an event loop runs."""
    job = new_id("contract")
    submitter.submit(job, FAILING, package, {"autoft.run": "contract"})

    async def cell():
        return "".join(submitter.follow(job))

    return job, asyncio.run(cell())


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with 240 generated images of 32 pixels in three classes, as an .npz file."""
    return write_pictures(tmp_path_factory.mktemp("shipped")).parent


@dataclass(frozen=True)
class Cluster:
    address: str
    token: str
    home: Path


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head node on this machine, as a person starts it: with a token, by ``ray start``."""
    home = tmp_path_factory.mktemp("home")
    with ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True))
        ports = free_ports(6)
        names = ("port", "dashboard-port", "dashboard-agent-listen-port", "dashboard-agent-grpc-port")
        names = (*names, "runtime-env-agent-port", "metrics-export-port")
        command = [
            str(Path(sys.executable).with_name("ray")),
            "start",
            "--head",
            "--block",
            "--disable-usage-stats",
            "--num-cpus=2",
            "--num-gpus=0",
            "--node-ip-address=127.0.0.1",
            "--dashboard-host=127.0.0.1",
            "--include-dashboard=true",
            f"--object-store-memory={100 * 2**20}",
            f"--temp-dir={scratch}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            *(f"--{name}={port}" for name, port in zip(names, ports, strict=True)),
        ]
        log = stack.enter_context((home / "ray.log").open("w+"))
        process = subprocess.Popen(command, env=environment(home), stdout=log, stderr=log, cwd=home)
        stack.callback(process.wait)
        stack.callback(end, process.pid)
        wait_for_port(ports[1], process, log)
        yield Cluster(f"http://127.0.0.1:{ports[1]}", TOKEN, home)


def environment(home):
    """Of the cluster: the tests' interpreter first on the path, a home of its own, a token."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    return {
        **kept,
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "AUTOFT_CACHE_DIR": str(home / "cache"),
        "OMP_NUM_THREADS": "1",
    }


def free_ports(count):
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_for_port(port, process, log, seconds=120):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.2)
    log.seek(0)
    raise AssertionError(f"Ray did not start:\n{log.read()}")


def end(pid):
    """End a process and all that it started."""
    parent = psutil.Process(pid)
    family = [*parent.children(recursive=True), parent]
    for process in family:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)
