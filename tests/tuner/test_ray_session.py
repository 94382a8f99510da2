"""Where Ray is: addresses that cannot be joined are told in one sentence, before anything is spent."""

import os
import socket
import subprocess
import sys
import threading
import types

import numpy as np
import pytest
import ray
from ray._private import worker as ray_worker

import autoft
from autoft.errors import ConfigError, SearchFailedError
from autoft.tuner import ray_session
from autoft.tuner.ray_session import RaySession


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


def test_a_process_of_ones_own_ray_that_has_ended_ends_the_search_in_a_sentence(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_session, "_HEAD_START_S", 600.0)  # Ray itself is not started
    session, dead = RaySession(), [("log_monitor", None)]
    session.check("autoft resume runs/a")
    with monkeypatch.context() as ray_is_up:
        ray_is_up.setattr(ray_worker, "_global_node", types.SimpleNamespace(dead_processes=lambda: dead))
        session.check("autoft resume runs/a")
        dead.append(("gcs_server", None))
        with pytest.raises(SearchFailedError, match=r"own GCS process has ended .*with: autoft resume runs/a$"):
            session.check("autoft resume runs/a")
    session.close()


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_what_rays_thread_starts_gives_way_to_the_search():
    def start():
        ray_session._give_way()
        told.append(subprocess.check_output(["nice"], text=True))

    told, before = [], os.getpriority(os.PRIO_PROCESS, 0)
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert int(told[0]) == min(19, before + ray_session._NICENESS)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
