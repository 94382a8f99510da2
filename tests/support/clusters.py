"""Ray clusters of several nodes on this machine, with GPUs that are invented."""

import os
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster
from tiny import TinyNet
from torch import nn

_PATIENT = {"health_check_period_ms": 1000, "health_check_failure_threshold": 5}


@contextmanager
def cluster():
    """A head that runs no trial; nodes are added to it. Nothing of it is left behind."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    found = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": _PATIENT},
    )
    try:
        yield found
    finally:
        found.shutdown()


def raylet(node):
    """The process that is a node."""
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


def worker_below(node, run, *, rank=0):
    """The process on a node that has taken up trials of a run, as that rank of them; None while there is none."""
    name = f"worker_pid.{rank}" if rank else "worker_pid"
    known = {int(path.read_text()) for path in run.glob(f"trials/*/{name}")}
    return next((process for process in raylet(node).children() if process.pid in known), None)


class Mark(nn.Module):
    """Leaves a file for every process that it runs in, ``node-pid`` with the GPUs that it was given.

    Where there are GPUs it waits for as many such processes as are to meet.
    """

    def __init__(self, folder, meet):
        super().__init__()
        self.folder, self.meet = Path(folder), meet

    def forward(self, x):
        where = ray.get_runtime_context()
        gpus = " ".join(where.get_accelerator_ids().get("GPU", ()))
        file = self.folder / f"{where.get_node_id()}-{os.getpid()}"
        if not file.exists():
            file.write_text(gpus)
            end = time.monotonic() + 120
            while gpus and len(marks(self.folder)) < self.meet and time.monotonic() < end:
                time.sleep(0.05)
        return x


def marks(folder):
    """Node and GPUs of every process that was given GPUs."""
    found = [(path.name.partition("-")[0], path.read_text()) for path in folder.glob("*-*") if path.is_file()]
    return sorted(mark for mark in found if mark[1])


class Located(TinyNet):
    """Tells where it runs."""

    def __init__(self, folder=".", meet=1):
        super().__init__()
        self.block1.append(Mark(folder, meet))
