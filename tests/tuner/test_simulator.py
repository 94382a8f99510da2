"""Searches on a virtual clock: the real conductor and policy, fed with recorded curves."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.pruning import PruneConfig
from autoft.pruning.replay import RecordedTask, load_task, recorded_curve
from autoft.record import TrialState
from autoft.study import MemoryLedger, OptunaLedger, sqlite_url
from autoft.tuner.policy import Policy
from autoft.tuner.recorded import curves_of, recorded_pool, recorded_recipe, recorded_trial
from autoft.tuner.simulator import Again, simulate

RECORDED = sorted((Path(__file__).parents[3] / "shared" / "curves").glob("*.npz"))
OFF = PruneConfig.parse("off", where="prune")


def made_task(trials=60, length=18, seed=0):
    """Curves that fall to what their one hyperparameter gives; the best lies at 0.3; a few diverge."""
    generator = np.random.default_rng(seed)
    points = generator.random((trials, 1))
    ends = 0.2 + np.abs(points - 0.3) + 0.02 * generator.random((trials, 1))
    values = ends + 0.7 * np.exp(-np.arange(1, length + 1) / 3) * generator.uniform(0.5, 1, (trials, 1))
    values[::17, 3:] = np.nan
    return RecordedTask("made", ("x",), points, tuple(recorded_curve(row, row) for row in values))


TASK = made_task()


def policy(*, num_samples=40, seed=0, task=TASK, **changes):
    sampler = recorded_pool(task, np.random.default_rng(seed).permutation(len(task.curves)), seed=seed)
    made = {"objective": task.objective, "sampler": sampler, "baselines": (), "scheduler": "thaw"}
    return Policy(**(made | {"num_samples": num_samples} | changes))


def told(records):
    """What became of each trial, without the times at which it did."""
    return [(r.proposal.recipe["model"], r.state, r.reason, r.reason_text, len(r.curve)) for r in records]


def named(*trials):
    return [(str(trial), recorded_recipe(trial, 18)) for trial in trials]


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("scheduler", ["thaw", "asha", "hyperband", "median", "none"])
def test_a_search_ends_and_every_pause_and_stop_has_a_reason(workers, scheduler):
    records = simulate(policy(scheduler=scheduler), curves_of(TASK), workers=workers).records
    assert len(records) == 40
    assert not any(one.state == TrialState.RUNNING for one in records)
    assert all(one.state.finished for one in records)
    rules = {"none": None, "median": "median"}
    assert (rules.get(scheduler, "not_promoted") in {one.reason for one in records}) == (scheduler != "none")
    for one in records:
        assert bool(one.reason) == bool(one.reason_text) == (one.state != TrialState.COMPLETE)


def test_nothing_is_due_when_the_search_has_ended():
    whole = policy()
    records = simulate(whole, curves_of(TASK)).records
    assert whole.thaw(records) is None
    assert whole.next(records) is None


def test_no_recipe_is_given_while_a_thaw_is_next():
    searched, ledger, due = policy(), MemoryLedger(TASK.objective), []

    def look(_step):
        thaw = searched.thaw(ledger.trials())
        due.append(thaw is not None)
        assert thaw is None or searched.next(ledger.trials()) is None
        return False

    simulate(searched, curves_of(TASK), ledger=ledger, until=look)
    assert 0 < sum(due) < len(due)


def test_the_best_trial_of_the_pool_is_trained_to_its_end():
    task = made_task(30)
    records = simulate(policy(task=task, num_samples=30), curves_of(task)).records
    best = int(np.argmax(task.best_scores()))
    (winner,) = [one for one in records if recorded_trial(one.proposal.recipe) == best]
    assert winner.best(task.objective).value == -task.best_scores()[best]


def test_pausing_costs_less_than_training_all_and_keeps_the_best():
    spent = {
        name: simulate(policy(scheduler=name, prune=OFF, num_samples=60), curves_of(TASK)).steps[-1].spent
        for name in ("thaw", "none")
    }
    assert spent["thaw"] < 0.5 * spent["none"]


def test_time_is_shared_by_the_workers_and_cost_is_not():
    one, four = (simulate(policy(scheduler="none", prune=OFF), curves_of(TASK), workers=n).steps[-1] for n in (1, 4))
    assert one.spent == one.time == four.spent
    assert four.time < 0.3 * one.time


def test_rungs_follow_the_cost_of_an_evaluation():
    halved = policy(cost=lambda _recipe, _index: 0.5, prune=OFF)
    paused = [one for one in simulate(halved, curves_of(TASK)).records if one.reason == "not_promoted"]
    assert {len(one.curve) for one in paused} <= {4, 12}


def test_baselines_run_to_their_end_then_the_portfolio_comes_first():
    searched = policy(baselines=named(7), portfolio=named(3, 5), num_samples=12)
    records = simulate(searched, curves_of(TASK)).records
    assert [one.proposal.origin for one in records[:3]] == ["baseline:7", "portfolio:3", "portfolio:5"]
    assert records[0].state == TrialState.COMPLETE
    assert len({recorded_trial(one.proposal.recipe) for one in records}) == 12


@settings(max_examples=4)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=3))
def test_an_interrupted_search_goes_on_as_an_uninterrupted_one(interruptions):
    whole = simulate(policy(), curves_of(TASK)).records
    ledger = MemoryLedger(TASK.objective)
    for steps in interruptions:
        count = iter(range(1, 10**6))
        simulate(policy(), curves_of(TASK), ledger=ledger, until=lambda _, c=count, n=steps: next(c) >= n)
        ledger = MemoryLedger(TASK.objective, ledger.trials())
    assert told(simulate(policy(), curves_of(TASK), ledger=ledger).records) == told(whole)


def with_references(seed):
    """Searches whose baselines have the names of those that are always run again."""
    baselines = [(name, recorded_recipe(trial, 18)) for trial, name in ((7, "head_only"), (9, "standard"))]
    return policy(seed=seed, num_samples=24, baselines=baselines)


def again_of(records):
    """What was run again, in no order."""
    return {one.proposal.origin: (one.proposal.recipe, one.state) for one in records}


@pytest.mark.parametrize("seed", [0, 1])
def test_idle_workers_begin_to_confirm_and_nothing_but_the_time_changes(seed):
    early, late = (
        simulate(with_references(seed), curves_of(TASK), workers=8, again=Again(early=early)) for early in (True, False)
    )
    assert told(early.records) == told(late.records)
    assert again_of(early.runs) == again_of(late.runs)
    assert len(early.runs) == len(again_of(early.runs)), "nothing is run twice"
    assert early.steps[-1].time < 0.95 * late.steps[-1].time


@pytest.mark.parametrize("before_the_end", [2, 8, 14])
def test_a_search_that_is_interrupted_while_it_confirms_goes_on_as_an_uninterrupted_one(before_the_end):
    whole = simulate(with_references(0), curves_of(TASK), workers=8, again=Again())
    ledger, runs = MemoryLedger(TASK.objective), MemoryLedger(TASK.objective)
    count = iter(range(len(whole.steps) - before_the_end, -1, -1))
    common = {"workers": 8, "ledger": ledger, "again": Again(ledger=runs)}
    simulate(with_references(0), curves_of(TASK), until=lambda _: next(count) == 0, **common)
    found = simulate(with_references(0), curves_of(TASK), **common)
    assert again_of(found.runs) == again_of(whole.runs)
    assert len(found.runs) == len(whole.runs)


def test_a_search_in_a_database_is_the_one_in_memory(tmp_path):
    whole = simulate(policy(num_samples=12), curves_of(TASK)).records
    count = iter(range(1, 10**6))
    for until in (lambda _: next(count) >= 30, lambda _: False):
        with OptunaLedger(sqlite_url(tmp_path / "study.db"), "s", TASK.objective) as ledger:
            simulate(policy(num_samples=12), curves_of(TASK), ledger=ledger, until=until)
            records = ledger.trials()
    assert told(records) == told(whole)


def test_the_sampler_finds_the_hill_sooner_than_chance():
    task = made_task(150)
    goal = np.sort(task.best_scores())[-3]

    def trials_until_the_top(seed, *, model):
        sampler = recorded_pool(task, np.random.default_rng(seed).permutation(150), seed=seed, model=model)
        searched = policy(task=task, sampler=sampler, num_samples=150)
        steps = simulate(searched, curves_of(task), until=lambda step: -step.evaluation.value >= goal).steps
        return max(step.number for step in steps)

    found = {model: sum(trials_until_the_top(seed, model=model) for seed in range(4)) for model in (True, False)}
    assert found[True] < 0.7 * found[False]


def test_a_decision_takes_little_time_however_many_trials_there_are():
    """2,000 of them are in tests/benchmarks/policy_replay.py."""
    task = made_task(300, length=6)
    searched = policy(task=task, sampler=recorded_pool(task, range(300), model=False), num_samples=300)
    records = simulate(searched, curves_of(task), workers=2).records
    took = []
    for one in records[-40:]:
        began = time.perf_counter()
        searched.judge(one, records)
        took.append(time.perf_counter() - began)
    assert np.median(took) < 5e-3


@pytest.mark.skipif(not RECORDED, reason="the recorded curves of TaskSet are not beside the repository")
def test_a_good_portfolio_meets_the_winner_within_two_full_runs():
    """One shuffle of one task; tests/benchmarks/policy_replay.py has all of them."""
    task = load_task(RECORDED[0])
    ranks = []
    for path in RECORDED[1:]:
        with np.load(path) as arrays:
            ranks.append(np.nan_to_num(arrays["valid"], nan=np.inf).min(axis=1).argsort().argsort())
    ranks = np.log1p(ranks).mean(axis=0)
    first = [int(trial) for trial in np.argsort(ranks)[:6]]
    recipes = [(str(trial), recorded_recipe(trial, 50)) for trial in first]
    searched = policy(task=task, baselines=recipes[:1], portfolio=recipes[1:], num_samples=1000, reduction_factor=5)
    goal = np.sort(task.best_scores())[-10]
    steps = simulate(searched, curves_of(task), until=lambda step: -step.evaluation.value >= goal).steps
    assert -steps[-1].evaluation.value >= goal
    assert not math.isnan(steps[-1].spent)
    assert steps[-1].spent / 50 <= 2
