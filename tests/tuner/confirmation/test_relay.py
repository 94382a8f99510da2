"""The relay: trials first, all of them, then the runs of confirmation on the same workers."""

from autoft.recipe import Recipe
from autoft.record import Action, Decision, Evaluation, Objective, Proposal
from autoft.study import MemoryLedger
from autoft.tuner.conductor import Assignment, Clock, Conductor, Turn
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.confirmation.runs import ticket
from autoft.tuner.observer import Silent
from autoft.tuner.worker import Report

ACCURACY = Objective("accuracy", "max")
RECIPE = Recipe.parse({"model": "m", "stages": [{"name": "head", "epochs": 1}]}, where="test").full()
DONE = Report(
    evaluations=(Evaluation(1, "head", 1.0, 10, value=0.5, train_loss=0.1, val_loss=0.1),),
    done=True,
)


class Scripted:
    """Proposes recipes of these origins."""

    pauses = False

    def __init__(self, *origins):
        self.origins, self.num_samples = origins, len(origins)

    def thaw(self, records, *, last=False):
        return None

    def next(self, records):
        return Proposal(RECIPE, self.origins[len(records)]) if len(records) < len(self.origins) else None

    def judge(self, record, records, *, done=False):
        return Decision()

    def enough(self, records):
        return None

    def failure(self, records):
        return None


def conduct(*origins, deadline=None):
    clock = Clock(0.0, deadline=deadline, now=lambda: 1.0)
    conductor = Conductor(MemoryLedger(ACCURACY), Scripted(*origins), ACCURACY, clock, 2, Silent())
    conductor.open()
    return conductor


def test_confirmation_begins_when_the_last_trial_has_ended_and_its_runs_have_numbers_of_their_own():
    relay = Relay(conduct("tpe", "tpe"), lambda: conduct("confirm:1:0", "confirm:1:1"))
    assert [relay.next_trial().number, relay.next_trial().number] == [0, 1]
    assert relay.hear(0, DONE) is Action.STOP
    assert relay.next_trial() is Turn.WAIT, "a trial still runs: who is best is not known"
    relay.hear(1, DONE)
    first, second = relay.next_trial(), relay.next_trial()
    assert [(each.number, each.run) for each in (first, second)] == [(-1, 0), (-2, 1)]
    relay.hear(first.number, DONE)
    assert relay.next_trial() is Turn.WAIT
    relay.put_back(second.number)
    assert relay.next_trial().number == second.number
    relay.lost(second.number, "killed")
    assert relay.next_trial() is Turn.FINISHED
    assert [len(record.curve) for record in relay.trials.records] == [1, 1], "trials hear nothing of it"
    assert [str(record.state) for record in relay.confirmation.records] == ["COMPLETE", "FAIL"]
    assert relay.trials_to_come == 1


def test_a_worker_without_a_trial_begins_with_what_is_sure_to_be_needed_and_nothing_is_run_twice():
    early = conduct("confirm:0:0", "confirm:1:0")
    relay = Relay(conduct("tpe", "tpe"), lambda: early, lambda: early)
    assert [relay.next_trial().number, relay.next_trial().number] == [0, 1]
    assert relay.next_trial() is Turn.WAIT, "both workers are busy"
    relay.hear(0, DONE)
    assert relay.next_trial().number == -1
    assert relay.next_trial() is Turn.WAIT, "a run takes a worker as a trial does"
    relay.hear(-1, DONE)
    relay.hear(1, DONE)
    assert relay.next_trial().number == -2
    relay.hear(-2, DONE)
    assert relay.next_trial() is Turn.FINISHED
    assert [record.proposal.origin for record in early.records] == ["confirm:0:0", "confirm:1:0"]


def test_while_trials_run_no_run_of_confirmation_ends_the_search():
    early = conduct("confirm:0:0")
    relay = Relay(conduct("tpe", "tpe"), lambda: early, lambda: early)
    relay.next_trial(), relay.next_trial()
    relay.hear(0, DONE)
    relay.hear(relay.next_trial().number, DONE)
    assert relay.next_trial() is Turn.WAIT
    relay.suspend()
    assert not relay.trials.busy


def test_the_trials_deadline_is_not_that_of_confirmation():
    relay = Relay(conduct("tpe", deadline=0.5), lambda: conduct("confirm:0:0", deadline=2.0))
    assert isinstance(relay.next_trial(), Assignment)


def test_without_confirmation_the_end_of_the_trials_is_the_end():
    relay = Relay(conduct(), lambda: None)
    assert relay.next_trial() is Turn.FINISHED
    relay.suspend()
    relay.settle()
    assert ticket(ticket(3)) == 3
