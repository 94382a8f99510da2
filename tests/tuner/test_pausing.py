"""Pauses and thaws by the conductor, driven by scripted workers: no Ray, no training."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from autoft.pruning.replay import RecordedTask, recorded_curve
from autoft.recipe import Recipe
from autoft.record import Action, Decision, Evaluation, Objective, Proposal, TrialState, pause
from autoft.study import MemoryLedger
from autoft.tuner.conductor import Assignment, Clock, Conductor, Turn
from autoft.tuner.observer import Silent
from autoft.tuner.policy import Policy
from autoft.tuner.ray_adapters import ConductedScheduler, ConductedSearcher
from autoft.tuner.ray_trainable import REPORT
from autoft.tuner.recorded import curves_of, recorded_pool
from autoft.tuner.simulator import simulate
from autoft.tuner.thaw import Thaw
from autoft.tuner.worker import Report

ACCURACY = Objective("accuracy", "max")
RECIPE = Recipe.parse({"model": "m", "stages": [{"name": "tune", "epochs": 3, "unfreeze": 1}]}, where="test").full()
PAUSE = pause("not_promoted", "it is 2nd of 2")


class ScriptedPolicy:
    """Proposes so many recipes, pauses where it is told to, and thaws what is due."""

    pauses = True

    def __init__(self, trials, pauses=(), due=(), due_at_last=(), predicted=None):
        self.trials, self.where, self.due, self.due_at_last = trials, set(pauses), list(due), list(due_at_last)
        self.predicted = predicted or {}

    def next(self, records):
        return Proposal(RECIPE, "scripted", predicted=self.predicted) if len(records) < self.trials else None

    def judge(self, record, records, *, done=False):
        return PAUSE if (record.number, len(record.curve)) in self.where else Decision()

    def thaw(self, records, *, last=False):
        paused = {record.number for record in records if record.paused}
        due = [number for number in self.due + self.due_at_last * last if number in paused]
        return Thaw(due[0], "it is 1st of 3") if due else None

    def failure(self, records):
        return None


class Told(Silent):
    def __init__(self):
        self.told = []

    def trial_started(self, trial):
        self.told.append(("started", trial.number))

    def trial_ended(self, trial):
        self.told.append(("paused" if trial.paused else str(trial.state), trial.number))


def conduct(policy, *, slots=1, ledger=None, **more):
    ledger = ledger or MemoryLedger(ACCURACY)
    clock = more.pop("clock", Clock(0.0, now=lambda: 1.0))
    conductor = Conductor(ledger, policy, ACCURACY, clock, slots, more.pop("observer", Silent()), **more)
    conductor.open()
    return conductor


def report(index, *, done=False):
    return Report(evaluations=(Evaluation(index, "tune", index, index, 0.1 * index, 0.5, 0.5),), done=done)


def test_a_paused_trial_frees_its_slot_and_waits_with_its_reason():
    conductor = conduct(ScriptedPolicy(2, pauses=[(0, 1)]), observer=Told())
    assert conductor.next_trial().number == 0
    assert conductor.hear(0, report(1)) is Action.STOP, "the worker is to take up another trial"
    record = conductor.records[0]
    assert record.paused
    assert (record.state, record.reason, record.reason_text) == (TrialState.WAITING, PAUSE.rule, PAUSE.text)
    assert conductor.next_trial().number == 1
    assert conductor.observer.told == [("started", 0), ("paused", 0), ("started", 1)]


def test_a_thaw_comes_before_anything_new_and_knows_what_was_evaluated():
    conductor = conduct(ScriptedPolicy(3, pauses=[(0, 2)], due=[0]))
    conductor.next_trial()
    conductor.hear(0, report(1))
    conductor.hear(0, report(2))
    assert conductor.next_trial() == Assignment(0, RECIPE, known=2)
    assert conductor.records[0].state == TrialState.RUNNING
    assert conductor.records[0].reason == ""
    assert conductor.hear(0, report(3, done=True)) is Action.STOP
    assert conductor.records[0].state == TrialState.COMPLETE
    assert conductor.next_trial().number == 1


def test_while_others_run_a_free_worker_waits_for_a_thaw_that_may_come():
    policy = ScriptedPolicy(2, pauses=[(0, 1)])
    conductor = conduct(policy, slots=2)
    conductor.next_trial(), conductor.next_trial()
    conductor.hear(0, report(1))
    assert conductor.next_trial() is Turn.WAIT
    policy.due = [0]
    assert conductor.next_trial() == Assignment(0, RECIPE, known=1)
    conductor.hear(0, report(2, done=True))
    conductor.hear(1, report(1, done=True))
    assert conductor.next_trial() is Turn.FINISHED


def test_a_free_worker_waits_for_a_trial_that_never_pauses_too_since_it_may_lose_its_own():
    policy = ScriptedPolicy(1)
    policy.pauses = False
    conductor = conduct(policy, slots=2)
    conductor.next_trial()
    assert conductor.next_trial() is Turn.WAIT
    conductor.hear(0, report(1, done=True))
    assert conductor.next_trial() is Turn.FINISHED


def test_a_space_without_recipes_left_is_the_end_that_loosens_thaws():
    conductor = conduct(ScriptedPolicy(1, pauses=[(0, 1)], due_at_last=[0]))
    conductor.next_trial()
    conductor.hear(0, report(1))
    assert conductor.next_trial() == Assignment(0, RECIPE, known=1)


@pytest.mark.parametrize(
    ("left_s", "predicted_s", "due", "number"),
    [
        pytest.param(29.0, 10.0, [0], 0, id="no time for three epochs: the paused one goes on"),
        pytest.param(31.0, 10.0, [0], 1, id="time for all of it"),
        pytest.param(29.0, 10.0, [], 1, id="nothing paused is worth it: what can be done of it"),
        pytest.param(29.0, None, [0], 1, id="nobody knows what it takes"),
        pytest.param(math.inf, 10.0, [0], 1, id="no budget"),
    ],
)
def test_a_recipe_that_no_time_is_left_for_waits_for_what_is_paused(left_s, predicted_s, due, number):
    predicted = {} if predicted_s is None else {"tune": predicted_s}
    policy = ScriptedPolicy(3, pauses=[(0, 1)], due_at_last=due, predicted=predicted)
    conductor = conduct(policy, clock=Clock(0.0, deadline=left_s + 1.0, now=lambda: 1.0))
    conductor.next_trial()
    conductor.hear(0, report(1))
    assert conductor.next_trial().number == number


def test_how_long_a_recipe_takes_is_judged_by_how_long_the_others_took():
    policy = ScriptedPolicy(3, pauses=[(0, 1)], due_at_last=[0], predicted={"tune": 10.0})
    conductor = conduct(policy, clock=Clock(0.0, deadline=41.0, now=lambda: 1.0))
    conductor.next_trial()
    slow = replace(report(1).evaluations[0], compute_s=15.0)
    conductor.hear(0, Report(evaluations=(slow,)))
    assert conductor.next_trial().number == 0, "half as long again: 45 seconds, and 40 are left"


def test_nothing_is_thawed_after_the_deadline():
    time = itertools.count(0.0, 10.0)
    clock = Clock(0.0, deadline=35.0, now=lambda: next(time))
    conductor = conduct(ScriptedPolicy(1, pauses=[(0, 1)], due=[0]), clock=clock)
    conductor.next_trial()
    conductor.hear(0, report(1))
    assert conductor.records[0].paused
    clock.now(), clock.now()
    assert conductor.next_trial() is Turn.FINISHED


def test_when_the_search_is_over_what_is_paused_ends_with_its_reason():
    ended = []
    conductor = conduct(ScriptedPolicy(3, pauses=[(0, 1), (1, 1)]), observer=Told(), on_trial_end=ended.append)
    for number in range(2):
        conductor.next_trial()
        conductor.hear(number, report(1))
    conductor.next_trial()
    del ended[:], conductor.observer.told[:]
    conductor.suspend()
    conductor.settle()
    states = [(record.state, record.reason, record.reason_text) for record in conductor.records]
    assert states[:2] == [(TrialState.PRUNED, PAUSE.rule, PAUSE.text)] * 2
    assert states[2] == (TrialState.WAITING, "", ""), "an interrupted trial is not one that was paused"
    assert conductor.observer.told == [("PRUNED", 0), ("PRUNED", 1)]
    assert len(ended) == 1


def test_an_interruption_leaves_pauses_as_they_are_and_the_next_start_can_thaw_them():
    ledger = MemoryLedger(ACCURACY)
    first = conduct(ScriptedPolicy(3, pauses=[(0, 1)]), ledger=ledger)
    first.next_trial()
    first.hear(0, report(1))
    first.next_trial()
    first.suspend()
    assert [record.paused for record in ledger.trials()] == [True, False]

    second = conduct(ScriptedPolicy(3, due=[0]), ledger=ledger)
    taken = []
    for length in (1, 2, 1):
        taken.append(second.next_trial())
        second.hear(taken[-1].number, report(length, done=True))
    assert taken == [Assignment(1, RECIPE), Assignment(0, RECIPE, known=1), Assignment(2, RECIPE)]
    assert second.next_trial() is Turn.FINISHED


def tune_trial(trial_id, failures=0):
    facts = SimpleNamespace(num_failures=failures)
    told = {"config": {"number": 0}, "run_metadata": facts, "error_file": None, "status": "RUNNING"}
    return SimpleNamespace(trial_id=trial_id, temporary_state=SimpleNamespace(ray_actor=Actor()), **told)


class Actor:
    """Counts how often it was told to rest."""

    def __init__(self):
        self.rested = 0

    @property
    def rest(self):
        return SimpleNamespace(remote=self._rest)

    def _rest(self):
        self.rested += 1


def test_a_worker_is_told_to_rest_when_its_trial_does_not_go_on_and_not_before():
    scheduler = ConductedScheduler(conduct(ScriptedPolicy(1, pauses=[(0, 2)])))
    scheduler._conductor.next_trial()
    trial = tune_trial("first")
    for index, rested in ((1, 0), (2, 1)):
        scheduler.on_trial_result(None, trial, {REPORT: json.dumps(report(index).plain())})
        assert trial.temporary_state.ray_actor.rested == rested


def test_the_end_of_an_old_tune_trial_says_nothing_of_the_thawed_one():
    conductor = conduct(ScriptedPolicy(1, pauses=[(0, 1)], due=[0]))
    searcher, scheduler = ConductedSearcher(conductor), ConductedScheduler(conductor)
    assert searcher.suggest("first")["known"] == 0
    told = {REPORT: json.dumps(report(1).plain())}
    assert scheduler.on_trial_result(None, tune_trial("first"), told) == "STOP"
    assert searcher.suggest("second") == {"number": 0, "recipe": RECIPE, "known": 1}
    scheduler.on_trial_error(None, tune_trial("first", failures=3))
    assert conductor.records[0].state == TrialState.RUNNING
    scheduler.on_trial_error(None, tune_trial("second", failures=3))
    assert conductor.records[0].state == TrialState.FAIL
    assert conductor.next_trial() is Turn.FINISHED


def test_a_tune_trial_that_starts_again_after_it_was_told_to_stop_is_not_heard():
    """Its worker died in between; the thawed trial, or the ended one, is not to be changed by it."""
    conductor = conduct(ScriptedPolicy(1, pauses=[(0, 1)], due=[0]))
    scheduler = ConductedScheduler(conductor)

    def tell(trial_id, report):
        return scheduler.on_trial_result(None, tune_trial(trial_id), {REPORT: json.dumps(report.plain())})

    conductor.next_trial()
    assert tell("first", report(1)) == "STOP"
    conductor.next_trial()
    assert tell("second", report(2)) == "CONTINUE"
    assert tell("first", report(1)) == "STOP"
    assert len(conductor.records[0].curve) == 2
    assert tell("second", report(3, done=True)) == "STOP"
    assert tell("second", report(3, done=True)) == "STOP"
    assert conductor.records[0].state == TrialState.COMPLETE


def searched(**more):
    """A simulated search over made curves, with the real policy."""
    values = np.random.default_rng(3).random((30, 9))
    curves = tuple(recorded_curve(row, row) for row in np.minimum.accumulate(values, axis=1))
    task = RecordedTask("made", ("x",), np.arange(30.0)[:, None], curves)
    sampler = recorded_pool(task, range(30), model=False)
    policy = Policy(objective=task.objective, sampler=sampler, baselines=(), num_samples=20, scheduler="thaw")
    return simulate(policy, curves_of(task), **more)


def told(records):
    return [(one.state, one.reason, one.reason_text, len(one.curve)) for one in records]


@pytest.mark.parametrize("steps", [1, 7, 23, 40])
def test_a_killed_driver_changes_no_decision(steps):
    """What it had taken up stays RUNNING in the ledger, and paused trials stay paused."""
    ledger, count = MemoryLedger(Objective("loss", "min")), itertools.count(1)

    def kill(_step):
        if next(count) == steps:
            raise MemoryError

    with pytest.raises(MemoryError):
        searched(ledger=ledger, until=kill)
    assert not all(record.state.finished for record in ledger.trials())
    assert told(searched(ledger=MemoryLedger(ledger.objective, ledger.trials())).records) == told(searched().records)


class Torn(MemoryLedger):
    """The driver is killed after an evaluation was written down, before the pause or the end that follows from it."""

    left = math.inf

    def _tear(self):
        self.left -= 1
        if self.left < 0:
            raise MemoryError

    def suspend(self, *given):
        self._tear()
        super().suspend(*given)

    def finish(self, *given):
        self._tear()
        super().finish(*given)


@pytest.mark.parametrize("left", [0, 1, 5, 12, 20])
def test_a_driver_killed_between_an_evaluation_and_what_follows_from_it_changes_no_decision(left):
    ledger = Torn(Objective("loss", "min"))
    ledger.left = left
    with pytest.raises(MemoryError):
        searched(ledger=ledger)
    assert told(searched(ledger=MemoryLedger(ledger.objective, ledger.trials())).records) == told(searched().records)


def test_only_what_was_heard_last_is_judged_again():
    ledger = MemoryLedger(ACCURACY)
    first = conduct(ScriptedPolicy(2), ledger=ledger, slots=2, clock=Clock(0.0, now=itertools.count(1.0).__next__))
    for number in range(2):
        first.next_trial()
        first.hear(number, report(1))
    second = conduct(ScriptedPolicy(2, pauses=[(0, 1), (1, 1)]), ledger=ledger)
    assert second.next_trial() == Assignment(0, RECIPE, known=1)
    assert [record.paused for record in second.records] == [False, True]


def test_what_an_orderly_interruption_left_is_not_judged_again():
    ledger = MemoryLedger(ACCURACY)
    first = conduct(ScriptedPolicy(1), ledger=ledger)
    first.next_trial()
    first.hear(0, report(1))
    first.suspend()
    assert conduct(ScriptedPolicy(1, pauses=[(0, 1)]), ledger=ledger).next_trial() == Assignment(0, RECIPE, known=1)
