"""A whole search with pauses and thaws on real Ray, with a tiny network."""

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import ray
import torch
from tiny import TinyNet, tiny_data

import autoft
from autoft.errors import SearchInterruptedError
from autoft.record import Objective, TrialState
from autoft.tuner.observer import Silent
from autoft.tuner.policy import Policy
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.simulator import simulate

pytestmark = pytest.mark.slow
SETTINGS = {
    "confirm": "off",
    "stages": [{"name": "head", "epochs": 1}, {"name": "tune", "epochs": 6, "unfreeze": 1, "lr": 1e-3}],
    "search.scheduler": "thaw",
    "search.portfolio": "off",
    "search.grace_period": 1,
    "prune": "off",
    "resources.max_concurrent_trials": 1,
}
SPACE = {"lr": {"path": "stages.tune.lr", "type": "float", "low": 1e-4, "high": 1e-1, "log": True}}


class Watch(Silent):
    """Keeps what happened; interrupts the search when so many trials have been paused."""

    def __init__(self, interrupt_at=None):
        self.starts, self.paused, self._interrupt_at = Counter(), [], interrupt_at

    def trial_started(self, trial):
        self.starts[trial.number] += 1

    def trial_ended(self, trial):
        if trial.paused:
            self.paused.append(trial.number)
            if len(self.paused) == self._interrupt_at:
                os.kill(os.getpid(), signal.SIGINT)


def search(path, observer):
    torch.manual_seed(0)
    data = tiny_data(test=24)
    more = {"num_samples": 12, "name": "tiny", "storage_path": path, "overrides": SETTINGS, "observer": observer}
    return autoft.search(TinyNet(), data, space=SPACE, **more)


def free_cpus():
    """CPUs of the running Ray that nobody holds; waits a little for what is being given back."""
    end = time.monotonic() + 60
    while (free := ray.available_resources().get("CPU", 0)) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    return free


@dataclass(frozen=True)
class Run:
    """A search that was interrupted and went on to its end."""

    first: Watch
    free_cpus: float
    """Of two, after the interruption."""
    between: pd.DataFrame
    second: Watch
    result: autoft.SearchResult


@pytest.fixture(scope="module")
def run(tmp_path_factory, shared_ray):
    path = tmp_path_factory.mktemp("runs")
    first, second = Watch(interrupt_at=3), Watch()
    with pytest.raises(SearchInterruptedError):
        search(path, first)
    free = free_cpus()
    between = pd.read_csv(path / "tiny/trials.csv")
    return Run(first, free, between, second, search(path, second))


def test_an_interrupted_search_leaves_nothing_in_a_ray_that_goes_on(run):
    assert run.free_cpus == 2


def test_an_interruption_leaves_paused_trials_waiting_with_their_reason(run):
    waiting = run.between[run.between.state == "WAITING"]
    assert set(waiting.reason) == {"not_promoted"}
    assert set(waiting.trial) <= set(run.first.paused)


def test_trials_are_thawed_and_none_is_left_waiting_at_the_end(run):
    starts = run.first.starts + run.second.starts
    thawed = {number for number, times in starts.items() if times > 1}
    paused = {*run.first.paused, *run.second.paused}
    assert thawed
    assert thawed < paused
    assert thawed & {*run.first.paused} & {*run.second.starts}, "none of before the interruption"
    table = run.result.trials_dataframe()
    assert len(table) == 12
    assert set(table.state) == {"COMPLETE", "PRUNED"}
    assert set(table[table.state == "PRUNED"].reason) == {"not_promoted"}
    assert max(table[table.trial.isin(thawed)].epochs) == 7
    for record in run.result.records:
        assert [evaluation.index for evaluation in record.curve] == list(range(1, len(record.curve) + 1))


def test_only_what_is_needed_is_kept_on_disk_when_it_is_over(run):
    finished = run.result
    kept = {int(path.parent.name) for path in (finished.path / "trials").glob("*/checkpoint")}
    assert kept == {0, 1, 2, finished.summary["winner"]}


@dataclass
class _Recorded:
    """The proposals and curves of a search that was run."""

    records: tuple

    def propose(self, records, number):
        return self.records[number].proposal

    def locate(self, recipe, origin):
        (proposal,) = (one.proposal for one in self.records if one.proposal.origin == origin)
        return proposal

    def curve(self, recipe):
        """One more evaluation where training would have gone on."""
        (record,) = (one for one in self.records if one.proposal.recipe == recipe)
        more = (replace(record.curve[-1], index=len(record.curve) + 1),) * (record.state == TrialState.PRUNED)
        return (*record.curve, *more)


def test_the_simulator_fed_with_its_curves_takes_the_same_decisions_uninterrupted(run):
    finished = run.result
    recorded = _Recorded(finished.records)
    recipes = [(one.baseline, finished.best_recipe) for one in finished.records if one.baseline]
    policy = Policy(
        objective=Objective("accuracy", "max"),
        sampler=recorded,
        baselines=recipes,
        num_samples=12,
        scheduler="thaw",
        grace_period=1,
        prune=RunFolder(finished.path).read_config().prune,
    )
    simulated = simulate(policy, recorded.curve)
    assert told(simulated.records) == told(finished.records)
    in_time = sorted((one.wall_s, r.number, one.index) for r in finished.records for one in r.curve)
    assert [(step.number, step.evaluation.index) for step in simulated.steps] == [row[1:] for row in in_time]


def told(records):
    return [(one.number, one.state, one.reason, one.reason_text, len(one.curve)) for one in records]
