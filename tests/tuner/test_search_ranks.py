"""Whole searches whose trials are trained by two processes each, on real Ray, with a tiny network."""

import os
import signal

import pytest
import torch
from tiny import TinyNet, tiny_data

import autoft
from autoft.errors import SearchFailedError
from autoft.tuner.observer import Silent

pytestmark = pytest.mark.slow
SETTINGS = {
    "confirm": "off",
    "search.scheduler": "none",
    "search.portfolio": "off",
    "search.probe": "off",
    "search.gains": "off",
    "search.forgetting": "off",
    "prune": "off",
    "optimisation.opt": "sgd",
    "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "epochs": 3, "unfreeze": "all"}],
    "resources.cpus_per_worker": 1,
}
SPACE = {"lr": {"path": "stages.tune.lr", "type": "float", "low": 1e-3, "high": 1e-1, "log": True}}


class Killer(Silent):
    """Kills rank 1 when a trial that trains more than its head reports its second evaluation."""

    def __init__(self, run):
        self.run, self.killed = run, None

    def evaluated(self, trial, evaluation, _best):
        if self.killed is None and evaluation.stage == "tune" and evaluation.index == 2:
            self.killed = int((self.run / f"trials/{trial.number:04d}/worker_pid.1").read_text())
            os.kill(self.killed, signal.SIGKILL)


def search(path, workers, net=None, **more):
    torch.manual_seed(0)
    changes = {**SETTINGS, "resources.workers_per_trial": workers}
    given = {"num_samples": 4, "name": f"with-{workers}", "storage_path": path, "overrides": changes, **more}
    return autoft.search(net or TinyNet(), tiny_data(test=24), space=SPACE, **given)


@pytest.fixture(scope="module")
def results(tmp_path_factory, shared_ray):
    folder = tmp_path_factory.mktemp("runs")
    return [search(folder, workers) for workers in (1, 2)]


def test_trials_of_two_workers_come_to_what_those_of_one_come_to(results):
    one, two = (result.trials_dataframe().set_index("trial") for result in results)
    assert list(two.state) == ["COMPLETE"] * 4
    heads = [all(each.stage.startswith("head") for each in record.curve) for record in results[1].records]
    assert list(two.workers) == [1 if head else 2 for head in heads]
    recipe = results[1].best_recipe
    assert recipe.provenance.workers == (1 if recipe.stages[-1].head_only else 2)
    assert list(two.value) == pytest.approx(list(one.value))
    for alone, together in zip(results[0].records, results[1].records, strict=True):
        assert [each.step for each in together.curve] == [each.step for each in alone.curve]
        assert [each.train_loss for each in together.curve] == pytest.approx(
            [each.train_loss for each in alone.curve], rel=1e-4
        )


def test_a_rank_is_one_process_for_the_whole_search(results):
    trials = results[1].path / "trials"
    for name in ("worker_pid", "worker_pid.1"):
        assert len({path.read_text() for path in trials.glob(f"*/{name}")}) == 1
    assert not list((results[0].path / "trials").glob("*/worker_pid.1"))


def test_a_killed_rank_costs_no_trial_and_no_evaluation_is_told_twice(tmp_path, shared_ray):
    watch = Killer(tmp_path / "with-2")
    result = search(tmp_path, 2, observer=watch)
    assert watch.killed is not None
    assert list(result.trials_dataframe().state) == ["COMPLETE"] * 4
    for record in result.records:
        assert [each.index for each in record.curve] == list(range(1, len(record.curve) + 1))
    assert len({path.read_text() for path in result.path.glob("trials/*/worker_pid")}) == 1, "rank 0 lives on"
    assert str(watch.killed) not in (result.path / "trials/0003/worker_pid.1").read_text()


def test_what_every_rank_cannot_do_ends_the_search_with_its_cause(tmp_path, shared_ray):
    with pytest.raises(SearchFailedError, match="this network never trains"):
        search(tmp_path, 2, TinyNet(fail_in_training=True))
