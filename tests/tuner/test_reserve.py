"""What of a time budget is kept for the end: as much as was measured to be needed, and never the whole of it."""

from dataclasses import replace

import numpy as np
import pytest

from autoft.pruning.replay import RecordedTask, recorded_curve
from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.policy import Policy
from autoft.tuner.recorded import curves_of, recorded_pool, recorded_recipe
from autoft.tuner.reserve import Passes, Reserve, micro_batches
from autoft.tuner.simulator import Again, simulate

ACCURACY = Objective("accuracy", "max")
RECIPE = Recipe.parse({"model": "m", "stages": [{"name": "head", "epochs": 4}]}, where="test").full()


def reserve(budget_s=600.0, *, pass_s=0.1, top=3, share_s=100.0, objective=ACCURACY):
    return Reserve(budget_s, budget_s, Passes(100, 50), pass_s, ConfirmConfig(top=top), objective, 2, share_s)


def trial(number, value, *, origin="tpe", took_s=2.0, predicted_s=2.0, epochs=4, state=TrialState.COMPLETE):
    curve = tuple(
        Evaluation(index, "head", float(index), index, value=value, train_loss=0.1, val_loss=0.1, compute_s=took_s)
        for index in range(1, epochs + 1)
    )
    return TrialRecord(number, state, Proposal(RECIPE, origin, predicted={"head": predicted_s}), curve)


def trials(**more):
    first = trial(0, 0.3, origin="baseline:head_only", **more)
    return [first, *(trial(number, 0.5 + number / 100, **more) for number in range(1, 5))]


def test_passes_count_in_whole_micro_batches():
    assert micro_batches(1, 32, 33) == 4


@pytest.mark.parametrize(
    ("took_s", "closing_s"),
    [
        pytest.param(2.0, 4.0 + 10.0 + 5.0, id="as predicted"),
        pytest.param(4.0, 4.0 + 20.0 + 10.0, id="twice as long"),
        pytest.param(100.0, 4.0 + 40.0 + 20.0, id="no longer than is to be believed"),
        pytest.param(0.1, 4.0 + 5.0 + 2.5, id="nor shorter"),
    ],
)
def test_closing_takes_as_much_longer_as_the_trials_did(took_s, closing_s):
    assert reserve().closing_s(trials(took_s=took_s)) == pytest.approx(closing_s)


def test_of_a_short_budget_a_quarter_is_kept_for_closing_at_most_and_little_for_what_is_good_to_have():
    assert reserve(40.0).closing_s() == 10.0
    assert reserve(80.0).closing_s() == 4.0 + 10.0 + 4.0


def test_confirmation_keeps_its_share_until_there_are_as_many_trials_as_it_runs_again():
    assert reserve().confirming_s(trials()[:3]) == 100.0
    assert reserve(top=0).confirming_s(trials()[:3]) == 0.0


@pytest.mark.parametrize(
    ("took_s", "needed_s"),
    [pytest.param(1.0, 1.25 * (2 * 4 * 1 * 4 / 2 + 4 / 2), id="less than its share"), (100.0, 100.0)],
)
def test_then_it_keeps_what_the_best_so_far_would_take(took_s, needed_s):
    """Two runs of a baseline and three others, one epoch each to the best evaluation, by two workers."""
    found = reserve().confirming_s(trials(took_s=took_s * 4, predicted_s=took_s * 4))
    assert found == pytest.approx(needed_s)


def test_a_leader_that_still_runs_counts_with_its_whole_length():
    ended = trials()
    running = [*ended[:4], trial(4, 0.9, epochs=1, state=TrialState.RUNNING)]
    assert reserve().confirming_s(running) > reserve().confirming_s(ended)


def made_search(task, budget_s):
    sampler = recorded_pool(task, range(len(task.curves)), model=False)
    names = ("head_only", "standard", "full")
    baselines = [(name, recorded_recipe(place, 12)) for place, name in enumerate(names)]
    policy = Policy(objective=task.objective, sampler=sampler, baselines=baselines, num_samples=200)
    kept = reserve(budget_s, pass_s=0.002 * budget_s**0.5, objective=task.objective)
    kept = replace(kept, share_s=0.25 * kept.runs_until())
    again = Again(ConfirmConfig(top=3, seeds=1))
    found = simulate(policy, curves_of(task), workers=2, again=again, reserve=replace(kept, confirm=again.config))
    return kept, found


@pytest.mark.parametrize("budget_s", [60.0, 150.0, 600.0])
def test_a_budget_is_never_exceeded_by_more_than_one_evaluation_and_trials_have_the_most_of_it(budget_s):
    ends = np.linspace(0.1, 0.9, 200)[:, None]
    values = ends + 0.5 * np.exp(-np.arange(1, 13) / 3)
    curves = [tuple(replace(each, compute_s=1.0) for each in recorded_curve(row, row)) for row in values]
    kept, found = made_search(RecordedTask("made", ("x",), ends, tuple(curves)), budget_s)
    of_trials = [step.time for step in found.steps if step.number >= 0]
    assert found.steps[-1].time + kept.closing_s(found.records) <= budget_s + 1.0
    assert max(of_trials) <= kept.runs_until()
    assert max(of_trials) + 1.0 >= kept.runs_until() - kept.share_s, "never less than with the whole share kept"
    assert {one.state for one in found.runs} == {TrialState.COMPLETE}
    assert all(one.state.finished for one in found.records)
