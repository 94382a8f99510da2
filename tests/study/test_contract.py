"""What every ledger must do: in memory, in a database, in one that is closed and opened all the time, on a server, and
where the first answer to everything that is written gets lost."""

import math
from dataclasses import replace

import pytest

from autoft.errors import StorageError, UnknownNameError
from autoft.record import Objective, TrialState
from autoft.study import MemoryLedger, OptunaLedger, sqlite_url

ENDS = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]


class Reopened:
    """An `OptunaLedger` that forgets all but what the database holds between any two calls."""

    def __init__(self, *arguments):
        self._arguments = arguments

    def __getattr__(self, name):
        def call(*args, **kwargs):
            with OptunaLedger(*self._arguments) as ledger:
                return getattr(ledger, name)(*args, **kwargs)

        return call

    def close(self):
        pass


def forgetful(url, objective):
    """A ledger that never hears the first answer of its database, and asks again."""
    ledger = OptunaLedger(url, "photos", objective)
    ledger._patience = lambda ask: (ask(), ask())[1]
    return ledger


@pytest.fixture(params=["memory", "sqlite", "reopened", "answers lost", "postgres"])
def ledger(request, url, objective):
    build = {
        "answers lost": lambda: forgetful(url, objective),
        "postgres": lambda: OptunaLedger(
            request.getfixturevalue("postgres").url, f"contract of {request.node.name}", objective
        ),
        "memory": lambda: MemoryLedger(objective),
        "sqlite": lambda: OptunaLedger(url, "photos", objective),
        "reopened": lambda: Reopened(url, "photos", objective),
    }[request.param]
    opened = build()
    yield opened
    opened.close()


class TestLedger:
    def test_is_empty_at_first(self, ledger):
        assert ledger.trials() == ()
        assert dict(ledger.meta()) == {}

    def test_numbers_trials_from_zero_without_gaps(self, ledger, proposal):
        assert [ledger.start(proposal(depth)) for depth in range(3)] == [0, 1, 2]
        assert [record.number for record in ledger.trials()] == [0, 1, 2]
        assert [record.proposal.recipe["stages"][0]["unfreeze"] for record in ledger.trials()] == [0, 1, 2]

    def test_keeps_the_proposal_whole(self, ledger, proposal):
        ledger.start(proposal(4))
        (record,) = ledger.trials()
        assert record.proposal == proposal(4)
        assert record.state == TrialState.RUNNING

    def test_keeps_a_recipe_outside_of_the_space(self, ledger, proposal):
        outside = proposal(4, origin="baseline:full", params={}, distributions={})
        ledger.start(outside)
        assert ledger.trials()[0].proposal == outside
        assert ledger.trials()[0].baseline == "full"

    def test_keeps_evaluations_whole_and_in_order(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        curve = [evaluation(1, 0.5, warming_up=True), evaluation(2, 0.7), evaluation(3, 0.6)]
        for one in curve:
            ledger.report(number, one)
        assert ledger.trials()[number].curve == tuple(curve)

    def test_keeps_what_is_not_a_number(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1, math.nan, train_loss=math.inf, diverged="the loss is inf"))
        (kept,) = ledger.trials()[number].curve
        assert math.isnan(kept.value)
        assert kept.train_loss == math.inf
        assert kept.diverged == "the loss is inf"

    def test_a_redone_evaluation_replaces_the_first(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        for index in (1, 2, 3):
            ledger.report(number, evaluation(index, 0.5))
        ledger.report(number, evaluation(3, 0.8))
        assert [(e.index, e.value) for e in ledger.trials()[number].curve] == [(1, 0.5), (2, 0.5), (3, 0.8)]

    def test_an_evaluation_ends_the_curve(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        for index, value in enumerate([0.5, 0.9, 0.6, 0.95], start=1):
            ledger.report(number, evaluation(index, value))
        ledger.report(number, evaluation(2, 0.7))
        assert [(e.index, e.value) for e in ledger.trials()[number].curve] == [(1, 0.5), (2, 0.7)]
        ledger.report(number, evaluation(3, 0.8))
        ledger.finish(number, TrialState.PRUNED, "plateau", "no better")
        assert [e.value for e in ledger.trials()[number].curve] == [0.5, 0.7, 0.8]

    @pytest.mark.parametrize("state", ENDS)
    def test_a_trial_ends_with_its_reason(self, ledger, proposal, evaluation, state):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1))
        ledger.finish(number, state, "plateau", "accuracy has not improved")
        (record,) = ledger.trials()
        assert (record.state, record.reason) == (state, "plateau")
        assert record.reason_text == "accuracy has not improved"

    def test_a_complete_trial_needs_no_reason(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1))
        ledger.finish(number, TrialState.COMPLETE)
        assert (ledger.trials()[0].reason, ledger.trials()[0].reason_text) == ("", "")

    @pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]], ids=["none", "nan", "infinite"])
    def test_a_trial_without_a_finite_value_cannot_be_complete(self, ledger, proposal, evaluation, values):
        number = ledger.start(proposal())
        for index, value in enumerate(values, start=1):
            ledger.report(number, evaluation(index, value))
        ledger.finish(number, TrialState.COMPLETE)
        (record,) = ledger.trials()
        assert (record.state, record.reason) == (TrialState.PRUNED, "diverged")
        assert record.reason_text == "no evaluation gave a finite accuracy"

    @pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.FAIL])
    def test_a_trial_may_end_without_any_value(self, ledger, proposal, evaluation, state):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1, math.nan))
        ledger.finish(number, state, "diverged", "accuracy is nan")
        assert ledger.trials()[0].state == state

    def test_knows_the_order_in_which_trials_ended(self, ledger, proposal, evaluation):
        for depth in range(4):
            ledger.report(ledger.start(proposal(depth)), evaluation(1))
        for number, state in ((2, TrialState.FAIL), (0, TrialState.COMPLETE), (3, TrialState.PRUNED)):
            ledger.finish(number, state, "rule", "text")
        assert [record.ended for record in ledger.trials()] == [2, None, 1, 3]

    def test_a_suspended_trial_waits_and_goes_on(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1, 0.5))
        ledger.suspend(number)
        assert ledger.trials()[0].state == TrialState.WAITING
        ledger.reenter(number)
        assert ledger.trials()[0].state == TrialState.RUNNING
        ledger.report(number, evaluation(2, 0.6))
        ledger.finish(number, TrialState.COMPLETE)
        assert [e.value for e in ledger.trials()[0].curve] == [0.5, 0.6]

    def test_a_paused_trial_keeps_its_reason_until_it_goes_on(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1, 0.5))
        ledger.suspend(number, "not_promoted", "5th of 6 at rung 1")
        paused = ledger.trials()[0]
        assert (paused.state, paused.reason, paused.reason_text) == (
            TrialState.WAITING,
            "not_promoted",
            "5th of 6 at rung 1",
        )
        assert paused.paused
        ledger.reenter(number)
        assert (ledger.trials()[0].reason, ledger.trials()[0].reason_text) == ("", "")
        ledger.suspend(number)
        assert not ledger.trials()[0].paused
        ledger.suspend(number, "not_promoted", "again")
        ledger.finish(number, TrialState.COMPLETE)
        assert (ledger.trials()[0].state, ledger.trials()[0].reason) == (TrialState.COMPLETE, "")

    def test_what_a_killed_process_left_running_can_be_suspended_and_reentered(self, ledger, proposal):
        number = ledger.start(proposal())
        ledger.reenter(number)
        assert ledger.trials()[0].state == TrialState.RUNNING
        ledger.suspend(number)
        ledger.suspend(number)
        assert ledger.trials()[0].state == TrialState.WAITING

    def test_a_waiting_trial_can_be_ended(self, ledger, proposal, evaluation):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1, 0.5))
        ledger.suspend(number)
        ledger.finish(number, TrialState.PRUNED, "budget", "the time was used up")
        assert ledger.trials()[0].state == TrialState.PRUNED

    @pytest.mark.parametrize("state", ENDS)
    def test_what_has_ended_is_not_changed(self, ledger, proposal, evaluation, state):
        number = ledger.start(proposal())
        ledger.report(number, evaluation(1))
        ledger.finish(number, state, "rule", "text")
        before = ledger.trials()
        changes = [
            lambda: ledger.report(number, evaluation(2)),
            lambda: ledger.finish(number, TrialState.COMPLETE),
            lambda: ledger.suspend(number),
            lambda: ledger.reenter(number),
        ]
        for change in changes:
            with pytest.raises(StorageError, match=f"trial 0 has ended as {state}"):
                change()
        assert ledger.trials() == before

    def test_a_trial_ends_in_an_end_state(self, ledger, proposal):
        number = ledger.start(proposal())
        with pytest.raises(ValueError, match="ends as COMPLETE, PRUNED or FAIL, got RUNNING"):
            ledger.finish(number, TrialState.RUNNING)

    def test_names_a_trial_that_is_not_there(self, ledger, proposal, evaluation):
        ledger.start(proposal())
        with pytest.raises(UnknownNameError, match="no trial 7; it has 1, counted from 0"):
            ledger.report(7, evaluation(1))

    def test_keeps_facts_about_the_study(self, ledger):
        ledger.set_meta("data", {"fingerprint": "abc", "sizes": (3, 4)})
        ledger.set_meta("wall_s", 1.5)
        ledger.set_meta("wall_s", 2.5)
        assert dict(ledger.meta()) == {"data": {"fingerprint": "abc", "sizes": [3, 4]}, "wall_s": 2.5}

    def test_tuples_come_back_as_lists_everywhere(self, ledger, proposal):
        recipe = {"stages": ({"name": "tune", "unfreeze": ("a", "b")},)}
        ledger.start(proposal(recipe=recipe))
        assert ledger.trials()[0].proposal.recipe == {"stages": [{"name": "tune", "unfreeze": ["a", "b"]}]}


def test_minimised_metrics_keep_their_smallest_value(tmp_path, proposal, evaluation):
    with OptunaLedger(sqlite_url(tmp_path / "s.db"), "s", Objective("mae", "min")) as ledger:
        number = ledger.start(proposal())
        for index, value in enumerate([0.5, 0.2, 0.4], start=1):
            ledger.report(number, evaluation(index, value))
        ledger.finish(number, TrialState.COMPLETE)
        assert ledger.study.best_value == 0.2
        assert ledger.study.trials[0].intermediate_values == {1: 0.5, 2: 0.2, 3: 0.2}


def test_records_can_be_given_to_a_ledger_in_memory(objective, proposal):
    first = MemoryLedger(objective)
    first.start(proposal())
    second = MemoryLedger(objective, first.trials())
    assert second.trials() == first.trials()
    assert second.start(proposal()) == 1
    assert replace(second.trials()[1], number=0) == first.trials()[0]
