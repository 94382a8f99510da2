"""The conductor, driven by scripted workers: no Ray, no training."""

import math

import pytest

from autoft.errors import SearchFailedError, StorageError
from autoft.recipe import Recipe
from autoft.record import Action, Decision, Evaluation, Objective, Proposal, TrialState, stop
from autoft.study import MemoryLedger
from autoft.tuner.conductor import Assignment, Clock, Conductor, Turn
from autoft.tuner.observer import Silent
from autoft.tuner.worker import Report

ACCURACY = Objective("accuracy", "max")
RECIPE = Recipe.parse({"model": "m", "stages": [{"name": "head", "epochs": 3}]}, where="test").full()


class ScriptedPolicy:
    """Proposes so many recipes, and stops the trials it is told to."""

    def __init__(self, trials, stops=None):
        self.trials, self.stops = trials, stops or {}

    pauses = False

    def thaw(self, records, *, last=False):
        return None

    def next(self, records):
        return Proposal(RECIPE, "scripted") if len(records) < self.trials else None

    def enough(self, records):
        return "all were tried" if len(records) >= self.trials else None

    def judge(self, record, records, *, done=False):
        return self.stops.get((record.number, len(record.curve)), Decision())

    def failure(self, records):
        failed = [record for record in records if record.state == TrialState.FAIL]
        return failed[-1].reason_text if len(failed) >= 3 else None


class VirtualTime:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def evaluation(index, value, **more):
    return Evaluation(
        index=index, stage="head", epoch=index, step=index, value=value, train_loss=0.1, val_loss=0.1, **more
    )


def conduct(policy, *, slots=2, ledger=None, time=None, deadline=None, **more):
    time = time or VirtualTime()
    conductor = Conductor(
        ledger=ledger or MemoryLedger(ACCURACY),
        policy=policy,
        objective=ACCURACY,
        clock=Clock(1000.0, deadline=deadline, now=time),
        slots=slots,
        observer=Silent(),
        **more,
    )
    conductor.open()
    return conductor


def run_to_end(conductor, length=3):
    """A loop over workers that report rising values until the conductor has no more trials."""
    while (turn := conductor.next_trial()) is not Turn.FINISHED:
        for index in range(1, length + 1):
            report = Report(evaluations=(evaluation(index, 0.1 * index + 0.01 * turn.number),), done=index == length)
            if conductor.hear(turn.number, report) is Action.STOP:
                break
    return conductor


def test_trials_that_run_their_length_are_complete():
    conductor = run_to_end(conduct(ScriptedPolicy(4)))
    assert [record.state for record in conductor.records] == [TrialState.COMPLETE] * 4
    assert conductor.best_value == conductor.records[3].curve[-1].value


def test_no_trial_is_drawn_while_all_slots_are_busy():
    conductor = conduct(ScriptedPolicy(9), slots=2)
    assert isinstance(conductor.next_trial(), Assignment)
    assert isinstance(conductor.next_trial(), Assignment)
    assert conductor.next_trial() is Turn.WAIT
    assert len(conductor.ledger.trials()) == 2
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),), done=True))
    assert conductor.next_trial() == Assignment(2, RECIPE)


def test_as_many_trials_run_at_a_time_as_there_is_room_for_now():
    conductor = conduct(ScriptedPolicy(9), slots=1)
    conductor.next_trial()
    assert conductor.next_trial() is Turn.WAIT
    conductor.resize(2)
    assert isinstance(conductor.next_trial(), Assignment)
    conductor.resize(1)
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),), done=True))
    assert conductor.next_trial() is Turn.WAIT, "the other one is all that there is room for"
    conductor.hear(1, Report(evaluations=(evaluation(1, 0.5),), done=True))
    assert conductor.next_trial() == Assignment(2, RECIPE)


def test_a_stopped_trial_is_pruned_with_rule_and_sentence():
    conductor = run_to_end(conduct(ScriptedPolicy(2, {(1, 2): stop("plateau", "it rests")})))
    pruned = conductor.ledger.trials()[1]
    assert (pruned.state, pruned.reason, pruned.reason_text) == (TrialState.PRUNED, "plateau", "it rests")
    assert len(pruned.curve) == 2


def test_a_crash_fails_the_trial_and_the_search_goes_on():
    conductor = conduct(ScriptedPolicy(3))
    conductor.next_trial()
    assert conductor.hear(0, Report(crash="ValueError: odd", done=True)) is Action.STOP
    run_to_end(conductor)
    assert [str(record.state) for record in conductor.records] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert conductor.records[0].reason == "crashed"
    conductor.raise_if_failed()


def test_three_crashes_for_one_cause_end_the_search_with_it():
    conductor = conduct(ScriptedPolicy(9), slots=1)
    for number in range(3):
        assert conductor.next_trial() == Assignment(number, RECIPE)
        conductor.hear(number, Report(crash="ValueError: odd", done=True))
    assert conductor.next_trial() is Turn.FINISHED
    with pytest.raises(SearchFailedError, match="ValueError: odd"):
        conductor.raise_if_failed()


def test_a_storage_that_refuses_ends_the_search_and_costs_no_trial():
    ledger = MemoryLedger(ACCURACY)
    conductor = conduct(ScriptedPolicy(3), ledger=ledger)
    conductor.next_trial(), conductor.next_trial()
    assert conductor.hear(0, Report(refused="/runs: Input/output error", done=True)) is Action.STOP
    assert conductor.next_trial() is Turn.FINISHED
    assert conductor.hear(1, Report(evaluations=(evaluation(1, 0.5),))) is Action.STOP
    with pytest.raises(StorageError, match=r"Input/output error; .* resume the run"):
        conductor.raise_if_failed()
    again = run_to_end(conduct(ScriptedPolicy(3), ledger=ledger))
    assert [str(record.state) for record in again.records] == ["COMPLETE"] * 3


def test_nothing_starts_after_the_deadline_and_running_trials_are_stopped_for_the_budget():
    time = VirtualTime()
    conductor = conduct(ScriptedPolicy(9), time=time, deadline=1060.0)
    conductor.next_trial()
    time.now = 1061.0
    assert conductor.next_trial() is Turn.FINISHED
    assert conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),))) is Action.STOP
    assert conductor.records[0].reason == "budget"
    assert conductor.records[0].state == TrialState.PRUNED


class TestStoppedBecause:
    def test_all_were_tried_in_time(self):
        time = VirtualTime()
        conductor = run_to_end(conduct(ScriptedPolicy(2), time=time, deadline=1060.0))
        time.now = 1061.0
        assert conductor.stopped_because == "all were tried"

    def test_the_time_was_up_before(self):
        time = VirtualTime()
        conductor = conduct(ScriptedPolicy(2), time=time, deadline=1060.0)
        conductor.next_trial()
        time.now = 1061.0
        conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),)))
        assert conductor.stopped_because == "the time budget of the search was used up"

    def test_the_space_is_exhausted(self):
        policy = ScriptedPolicy(2)
        policy.enough = lambda _records: None
        assert run_to_end(conduct(policy)).stopped_because == "no recipe of the search space is left untried"


def test_a_search_ends_when_its_gpu_hours_are_used_up_also_over_several_starts():
    ledger = MemoryLedger(ACCURACY)
    spending = {"gpus": 0.5, "max_gpu_s": 3600.0, "slots": 1}
    first = conduct(ScriptedPolicy(9), ledger=ledger, **spending)
    first.next_trial()
    hour = Report(evaluations=(evaluation(1, 0.5, compute_s=3600.0),), done=True)
    assert first.hear(0, hour) is Action.STOP
    second = conduct(ScriptedPolicy(9), ledger=ledger, **spending)
    assert second.next_trial() == Assignment(1, RECIPE)
    assert second.used_up is None
    second.hear(1, Report(evaluations=(evaluation(1, 0.6, compute_s=3600.0),)))
    assert second.next_trial() is Turn.FINISHED
    stopped = ledger.trial(1)
    assert (stopped.reason, stopped.reason_text) == ("budget", "the 1 GPU hours of the search were used up")
    assert second.stopped_because == stopped.reason_text


def test_a_search_without_any_result_at_its_deadline_lets_its_trials_wait_for_a_larger_budget():
    time = VirtualTime()
    ledger = MemoryLedger(ACCURACY)
    conductor = conduct(ScriptedPolicy(1), time=time, deadline=1060.0, ledger=ledger)
    conductor.next_trial()
    time.now = 1061.0
    assert conductor.hear(0, Report(out_of_time=True, done=True)) is Action.STOP
    assert ledger.trials()[0].state == TrialState.WAITING
    run_to_end(conduct(ScriptedPolicy(1), ledger=ledger))
    assert ledger.trials()[0].state == TrialState.COMPLETE


def test_evaluations_carry_the_wall_clock_through_a_resume():
    time = VirtualTime()
    ledger = MemoryLedger(ACCURACY)
    conductor = Conductor(ledger, ScriptedPolicy(1), ACCURACY, Clock(990.0, offset_s=100.0, now=time), 1, Silent())
    conductor.open()
    conductor.next_trial()
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),)))
    assert ledger.trials()[0].curve[0].wall_s == 110.0


def test_an_interrupted_search_goes_on_with_the_same_trials_first():
    ledger = MemoryLedger(ACCURACY)
    first = conduct(ScriptedPolicy(4), ledger=ledger)
    first.next_trial()
    first.next_trial()
    first.hear(0, Report(evaluations=(evaluation(1, 0.5),)))
    first.suspend()
    assert [record.state for record in ledger.trials()] == [TrialState.WAITING] * 2

    second = conduct(ScriptedPolicy(4), ledger=ledger)
    assert [second.next_trial().number, second.next_trial().number] == [0, 1]
    second.hear(0, Report(evaluations=(evaluation(2, 0.6),), done=True))
    second.hear(1, Report(evaluations=(evaluation(1, 0.6),), done=True))
    run_to_end(second)
    assert [len(record.curve) for record in ledger.trials()] == [2, 1, 3, 3]


def test_trials_left_running_by_a_killed_driver_are_taken_up_again():
    ledger = MemoryLedger(ACCURACY)
    conduct(ScriptedPolicy(1), ledger=ledger).next_trial()
    assert ledger.trials()[0].state == TrialState.RUNNING
    run_to_end(conduct(ScriptedPolicy(1), ledger=ledger))
    assert [record.state for record in ledger.trials()] == [TrialState.COMPLETE]


@pytest.mark.parametrize("pauses", [True, False])
def test_a_trial_whose_worker_died_before_it_began_is_the_next_to_go_on(pauses):
    conductor = conduct(ScriptedPolicy(2))
    conductor.policy.pauses = pauses
    conductor.next_trial(), conductor.next_trial()
    conductor.hear(1, Report(evaluations=(evaluation(1, 0.5),)))
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),), done=True))
    assert conductor.next_trial() is Turn.WAIT, "what runs may have to go on elsewhere"
    conductor.put_back(1)
    assert conductor.records[1].state == TrialState.WAITING
    again = conductor.next_trial()
    assert (again.number, again.known) == (1, 1)
    conductor.put_back(0)
    assert conductor.records[0].state == TrialState.COMPLETE, "it had ended"


def test_where_the_budget_is_used_up_a_trial_does_not_wait_for_another_worker():
    time = VirtualTime()
    conductor = conduct(ScriptedPolicy(1), time=time, deadline=1060.0)
    conductor.next_trial()
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),)))
    time.now = 1061.0
    conductor.put_back(0)
    assert (conductor.records[0].state, conductor.records[0].reason) == (TrialState.PRUNED, "budget")
    assert conductor.next_trial() is Turn.FINISHED


def test_an_evaluation_redone_after_a_resume_replaces_the_lost_one():
    conductor = conduct(ScriptedPolicy(1))
    conductor.next_trial()
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),)))
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),)))
    assert len(conductor.records[0].curve) == 1
    assert len(conductor.ledger.trials()[0].curve) == 1


def test_a_diverged_trial_is_pruned_even_when_it_is_its_last_word():
    conductor = conduct(ScriptedPolicy(1, {(0, 1): stop("diverged", "the loss is nan")}))
    conductor.next_trial()
    report = Report(evaluations=(evaluation(1, math.nan, diverged="the loss is nan"),), done=True)
    assert conductor.hear(0, report) is Action.STOP
    record = conductor.ledger.trials()[0]
    assert (record.state, record.reason) == (TrialState.PRUNED, "diverged")
    assert conductor.best_value is None


def test_what_a_killed_driver_had_kept_and_not_judged_is_judged_before_the_trial_goes_on():
    ledger = MemoryLedger(ACCURACY)
    conduct(ScriptedPolicy(1), ledger=ledger).next_trial()
    ledger.report(0, evaluation(1, math.nan, diverged="the loss is nan"))
    conductor = conduct(ScriptedPolicy(1, {(0, 1): stop("diverged", "the loss is nan")}), ledger=ledger)
    assert conductor.next_trial() is Turn.FINISHED
    assert (ledger.trial(0).state, ledger.trial(0).reason) == (TrialState.PRUNED, "diverged")


def test_reports_survive_json():
    report = Report(evaluations=(evaluation(1, math.nan, diverged="x"),), done=True)
    again = Report.from_plain(report.plain())
    assert again.done
    assert math.isnan(again.evaluations[0].value)


def test_what_workers_have_to_say_of_the_search_is_told_once():
    told = []
    conductor = conduct(ScriptedPolicy(2))
    conductor.observer = type("Listener", (Silent,), {"note": lambda _self, text: told.append(text)})()
    for number in range(2):
        conductor.next_trial()
        conductor.hear(number, Report(evaluations=(evaluation(1, 0.5),), notes=("the disk is full",)))
    assert told == conductor.notes == ["the disk is full"]


def test_a_report_is_the_same_after_its_way_as_json():
    report = Report(evaluations=(evaluation(1, 0.5, saved_s=0.25, reused="blocks.3"),), notes=("a", "b"))
    assert Report.from_plain(report.plain()) == report


@pytest.mark.parametrize(
    ("deadline", "state"),
    [
        pytest.param(1080.0, TrialState.RUNNING, id="more time: it goes on"),
        pytest.param(1050.0, TrialState.PRUNED, id="no more time than it knew of"),
        pytest.param(1005.0, TrialState.PRUNED, id="more is over too"),
    ],
)
def test_a_trial_whose_time_was_up_goes_on_if_the_search_has_found_more_since(deadline, state):
    """The first trial's end shows how much is needed for the end of the search."""
    time = VirtualTime()
    conductor = conduct(
        ScriptedPolicy(2), time=time, until=lambda records: deadline if records[:1] and records[0].curve else 1050.0
    )
    assert [conductor.next_trial().until for _ in range(2)] == [1050.0, 1050.0]
    conductor.hear(1, Report(evaluations=(evaluation(1, 0.4),)))
    conductor.hear(0, Report(evaluations=(evaluation(1, 0.5),), done=True))
    time.now += 10.0
    conductor.hear(1, Report(done=True, out_of_time=True))
    again = conductor.next_trial()
    assert conductor.records[1].state == state
    if state == TrialState.RUNNING:
        assert (again.number, again.known, again.until) == (1, 1, deadline)
    else:
        assert again is Turn.FINISHED
        assert conductor.records[1].reason == "budget"
