"""Where Ray is: addresses that cannot be joined are told in one sentence, before anything is spent."""

import os
import socket
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import psutil
import pytest
import ray
from commands import wait_for

import autoft
from autoft.errors import ConfigError, SearchFailedError
from autoft.tuner import ray_keeper
from autoft.tuner.ray_head import RayHead
from autoft.tuner.ray_session import RaySession, ray_session


def lives(process):
    """Also one that nobody has buried is dead."""
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


@pytest.fixture
def closed_port():
    """A port of this machine at which nothing listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("ray://127.0.0.1:10001", "cannot be driven from outside of its cluster"),
        ("http://127.0.0.1:8265", "cannot be driven from outside of its cluster"),
        ("somewhere", "must be auto or HOST:PORT of a Ray cluster, got 'somewhere'"),
        ("127.0.0.1:99999", "must be auto or HOST:PORT"),
        ("no-such-host.invalid:6379", "no Ray cluster can be joined at no-such-host.invalid:6379"),
    ],
)
def test_an_address_that_is_none_is_told(address, told):
    with pytest.raises(ConfigError, match=told):
        RaySession(address)
    assert not ray.is_initialized()


def test_a_cluster_that_does_not_answer_is_told_and_leaves_no_run(tmp_path, closed_port):
    np.savez(tmp_path / "data.npz", x=np.zeros((30, 8), np.float32), y=np.arange(30) % 3)
    with pytest.raises(ConfigError, match=f"joined at 127.0.0.1:{closed_port}: Connection refused; start one"):
        autoft.search(
            "test_resnet.r160_in1k",
            tmp_path / "data.npz",
            storage_path=tmp_path / "runs",
            name="run",
            address=f"127.0.0.1:{closed_port}",
        )
    assert not (tmp_path / "runs" / "run").exists()


def test_the_environments_address_counts(monkeypatch, closed_port):
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{closed_port}")
    with pytest.raises(ConfigError, match=f"127.0.0.1:{closed_port}"):
        RaySession()


def test_a_process_of_ones_own_ray_that_has_ended_ends_the_search_in_a_sentence():
    ended = iter([None, "GCS"])
    head = types.SimpleNamespace(ended=lambda: next(ended), close=lambda: None, server=None)
    head.address = lambda: next(iter(()))
    with ray_session(None, head) as session:
        session.check("autoft resume runs/a")
        with pytest.raises(SearchFailedError, match=r"own GCS process has ended .*with: autoft resume runs/a$"):
            session.check("autoft resume runs/a")


def test_a_ray_that_does_not_start_is_told():
    head = RayHead(None)
    psutil.Process(head._process.pid).kill()
    with ray_session(None, head) as session, pytest.raises(SearchFailedError, match="Ray could not be started: the pr"):
        session.ready()
    assert not ray.is_initialized()
    head.close()


def test_a_search_that_ends_at_once_starts_no_ray(monkeypatch):
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    head = RayHead(None)
    head.close()
    assert head._process.wait(timeout=60) == 0
    assert not list(Path("/tmp/ray").glob(f"session_*_{head._process.pid}"))


def test_the_end_of_a_process_of_rays_is_heard_and_the_others_end_with_the_head():
    head = RayHead(None)
    assert head.address().rpartition(":")[2].isdigit()
    of_ray = psutil.Process(head._process.pid).children(recursive=True)
    gcs = next(process for process in of_ray if "gcs_server" in process.name())
    assert gcs.nice() == min(19, os.getpriority(os.PRIO_PROCESS, 0) + ray_keeper._NICENESS), "it gives way"
    assert head.ended() is None
    gcs.kill()
    wait_for(lambda: head.ended() == "GCS")
    head.close()
    wait_for(lambda: not any(lives(process) for process in of_ray), 60)


def test_ray_ends_with_the_search_however_that_ends():
    program = "from autoft.tuner.ray_head import RayHead; print(RayHead(None).address(), flush=True); input()"
    search = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert search.stdout.readline()
    of_ray = psutil.Process(search.pid).children(recursive=True)
    assert any("raylet" in process.name() for process in of_ray)
    search.kill()
    search.communicate()
    wait_for(lambda: not any(lives(process) for process in of_ray), 60)
