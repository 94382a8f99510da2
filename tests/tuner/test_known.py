"""Trials that the probe has run already: told by the driver, and equal to what a worker would tell."""

from dataclasses import replace

import pytest
import torch

from autoft.record import Action, Objective, TrialState
from autoft.study import MemoryLedger
from autoft.training import best_weights
from autoft.tuner.conductor import Clock, Conductor, Turn
from autoft.tuner.first import probed
from autoft.tuner.known import tell_known
from autoft.tuner.observer import Silent
from autoft.tuner.prepare import build_policy
from autoft.tuner.worker import Worker

SCORE = Objective("accuracy", "max")


def opened(world):
    config, ground, space = world
    policy = build_policy(config, ground, space, SCORE)
    conductor = Conductor(MemoryLedger(SCORE), policy, SCORE, Clock(0.0, now=lambda: 1.0), 2, Silent())
    conductor.open()
    return conductor


def find(world, context):
    config, ground, space = world
    probed(config, space, MemoryLedger(SCORE), context, ground, notify=lambda _text: None)


def test_the_driver_tells_the_trial_that_the_probe_has_run_as_a_worker_would(world, context, tmp_path):
    find(world, context)
    here, there = opened(world), opened(world)
    tell_known(here, context, world[1].loaded)
    (told,) = here.records
    given = there.next_trial()
    elsewhere = replace(context, trials=tmp_path / "elsewhere", stages=None, reuse=None)
    worker = Worker(lambda: elsewhere)
    worker.begin(given.number, given.recipe)
    while there.hear(given.number, worker.step()) is Action.CONTINUE:
        pass
    (trained,) = there.records
    assert told.state is trained.state is TrialState.COMPLETE
    assert told.proposal == trained.proposal
    assert [(one.stage, one.epoch, one.value) for one in told.curve] == [
        (one.stage, one.epoch, one.value) for one in trained.curve
    ]
    own = best_weights(context.trials / "0000" / "checkpoint")
    other = best_weights(elsewhere.trials / "0000" / "checkpoint")
    assert own.keys() == other.keys()
    assert all(torch.equal(own[name], other[name]) for name in own)
    assert sum(one.compute_s for one in told.curve) == 0.0
    assert not (context.trials / "0000" / "worker_pid").exists(), "who ends that process ends the driver"


def test_what_is_not_known_as_a_whole_is_left_to_the_workers(world, context):
    find(world, context)
    conductor = opened(world)
    tell_known(conductor, context, world[1].loaded)
    assert conductor.next_trial().number == 1


def test_a_resumed_search_goes_on_in_its_order(world, context):
    find(world, context)
    conductor = opened(world)
    conductor.next_trial()
    conductor.suspend()
    conductor.open()
    tell_known(conductor, context, world[1].loaded)
    assert [record.curve for record in conductor.records] == [()]


@pytest.mark.parametrize("shared", [True, False], ids=["nothing was run", "stages are not shared"])
def test_without_the_probe_no_trial_is_known(world, context, shared):
    conductor = opened(world)
    tell_known(conductor, context if shared else replace(context, stages=None), world[1].loaded)
    assert conductor.records == ()


def test_nothing_is_ahead_where_an_interrupted_trial_goes_on(world):
    conductor = opened(world)
    assert conductor.ahead is not None
    conductor.next_trial()
    conductor.suspend()
    conductor.open()
    assert conductor.ahead is None


def test_a_budget_that_is_used_up_leaves_the_one_answer_that_costs_nothing(world, context):
    find(world, context)
    late = opened(world)
    late.clock = Clock(0.0, deadline=0.5, now=lambda: 1.0)
    tell_known(late, context, world[1].loaded)
    (told,) = late.records
    assert told.state.finished
    assert told.best(SCORE) is not None
    assert late.ahead is None
    assert late.next_trial() is Turn.FINISHED
