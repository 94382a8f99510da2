"""A worker, a node and at last the whole cluster die while a search runs: it ends as if nothing had happened."""

import os
import signal

import pandas as pd
import pytest
from clusters import cluster, raylet, worker_below
from commands import command, evaluations, states, wait_for

pytestmark = pytest.mark.slow
ENDED = {"COMPLETE", "PRUNED"}


def test_a_worker_a_node_and_the_driver_with_its_cluster_may_die(search_command, started, tmp_path):
    run = tmp_path / "run"
    with cluster() as nodes:
        stays, goes = (nodes.add_node(num_cpus=1) for _ in range(2))
        address = f"--address={nodes.address}"
        first = started(search_command("--quiet", address, "--set=resources.cpus_per_worker=1"))
        wait_for(lambda: len(evaluations(run)) >= 3 and worker_below(stays, run))
        worker_below(stays, run).kill()
        seen = len(evaluations(run))
        wait_for(lambda: len(evaluations(run)) >= seen + 2)
        raylet(goes).kill()
        nodes.add_node(num_cpus=1)
        seen = len(evaluations(run))
        wait_for(lambda: len(evaluations(run)) >= seen + 3)
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        before = states(run)
        assert len(before) < 8 or "RUNNING" in before.values(), "the search was over before the last blow"

    second = started(command("resume", run, "--quiet"))
    _, told = second.communicate(timeout=240)
    assert second.returncode == 0, told
    table = pd.read_csv(run / "trials.csv")
    assert list(table.trial) == list(range(8))
    assert states(run) == dict(zip(table.trial, table.state, strict=True))
    assert set(table.state) <= ENDED
    curves = [[index for trial, index in sorted(evaluations(run)) if trial == number] for number in range(8)]
    assert all(curve == list(range(1, len(curve) + 1)) for curve in curves), "an evaluation is missing"
