"""What is run again: the best few and the baselines, as much as fits."""

from dataclasses import replace

import pytest

from autoft.errors import ConfigError
from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.confirmation.plan import (
    ConfirmPlan,
    Terms,
    again_s,
    certain,
    finalists,
    fresh_seed,
    grown,
    plan_runs,
    run_proposal,
)

ACCURACY = Objective("accuracy", "max")
RECIPE = Recipe.parse(
    {"model": "m", "stages": [{"name": "head", "epochs": 2}, {"name": "tune", "epochs": 4, "unfreeze": 1}]},
    where="test",
).full()


def evaluation(index, stage, epoch, value, compute_s=1.0):
    return Evaluation(
        index, stage, epoch, 10 * int(epoch), value=value, train_loss=0.1, val_loss=0.1, compute_s=compute_s
    )


def trial(number, value, origin="tpe", *, state=TrialState.COMPLETE, predicted=2.0):
    """Six evaluations of a second each; the best is the second of the second stage."""
    curve = (
        evaluation(1, "head", 1.0, value - 0.2),
        evaluation(2, "head", 2.0, value - 0.3),
        evaluation(3, "tune", 1.0, value - 0.1),
        evaluation(4, "tune", 2.0, value),
        evaluation(5, "tune", 3.0, value - 0.1),
        evaluation(6, "tune", 4.0, value - 0.1),
    )
    per_epoch = {"head": predicted, "tune": predicted} if predicted else {}
    return TrialRecord(number, state, Proposal(RECIPE, origin, predicted=per_epoch), curve)


TRIALS = (
    trial(0, 0.5, "baseline:head_only"),
    trial(1, 0.6, "baseline:standard"),
    trial(2, 0.55, "baseline:full"),
    trial(3, 0.9),
    trial(4, 0.7),
    trial(5, 0.8),
    trial(6, 0.95, state=TrialState.FAIL),
    trial(7, 0.75),
)


def terms(config, **more):
    return Terms(objective=ACCURACY, config=config, **more)


def test_the_best_comes_first_then_the_baselines_it_is_compared_to():
    assert [record.number for record in finalists(TRIALS, ACCURACY, 3)] == [3, 0, 1, 5, 7, 2]


def test_all_run_where_there_is_time_and_a_run_is_complete_before_the_next():
    plan = plan_runs(TRIALS, terms(ConfirmConfig(top=1, seeds=2), seconds=1000.0))
    assert plan.pairs() == ((3, 0), (0, 0), (1, 0), (2, 0), (3, 1), (0, 1), (1, 1), (2, 1))
    assert plan.left_out == ""
    assert ConfirmPlan.from_plain(plan.plain()) == plan


def test_a_run_costs_what_was_predicted_times_what_predictions_were_off_by():
    """Three epochs as run (the head's best, two of the tune); 6 s were taken where 12 were predicted."""
    assert again_s(TRIALS[3], TRIALS, ACCURACY) == pytest.approx(3 * 2.0 * 0.5)
    assert again_s(trial(0, 0.5, predicted=0.0), TRIALS, ACCURACY) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("seconds", "candidates", "runs"),
    [
        pytest.param(18.0, (3, 0, 1), 2, id="fewer candidates before fewer runs"),
        pytest.param(17.9, (3, 0, 1, 5, 7), 1, id="the baselines it is compared to before a second run"),
        pytest.param(11.9, (3, 0, 1), 1, id="two candidates in two runs do not fit"),
        pytest.param(6.0, (3, 0), 1, id="two candidates once"),
        pytest.param(5.9, (), 0, id="nothing fits"),
    ],
)
def test_what_does_not_fit_is_left_out_and_told(seconds, candidates, runs):
    plan = plan_runs(TRIALS, terms(ConfirmConfig(), seconds=seconds))
    assert (plan.candidates, plan.runs) == (candidates, runs)
    assert plan.left_out


def unfinished(number, value, reason=""):
    state = TrialState.WAITING if reason else TrialState.RUNNING
    return replace(trial(number, value, state=state), reason=reason)


@pytest.mark.parametrize(
    ("others", "sure"),
    [
        pytest.param([], (3, 0, 1, 5, 7, 2), id="nothing runs"),
        pytest.param([unfinished(8, 0.1)], (3, 0, 1, 5, 2), id="one may come to be among the three"),
        pytest.param([unfinished(8, 0.1), unfinished(9, 0.1)], (3, 0, 1, 2), id="two may"),
        pytest.param([unfinished(8, 0.1), unfinished(9, 0.1), unfinished(10, 0.1)], (0, 1, 2), id="three may"),
        pytest.param([unfinished(8, 0.85, "not_promoted")], (3, 0, 1, 5, 2), id="a paused one has its place"),
    ],
)
def test_what_running_trials_cannot_displace_is_certain(others, sure):
    records = (*TRIALS, *others)
    found = certain(records, terms(ConfirmConfig(), seconds=1e6))
    assert sorted(found.candidates) == sorted(sure)
    assert found.runs == 2
    others = [replace(one, state=TrialState.COMPLETE) if one.paused else trial(one.number, 0.99) for one in others]
    ended = (*TRIALS, *others)
    assert set(found.candidates) <= set(plan_runs(ended, terms(ConfirmConfig(), seconds=1e6)).candidates)


def ran(place, pair, compute_s):
    """A run of confirmation that came to its end."""
    made = run_proposal(TRIALS[pair[0]], pair[1], ACCURACY, seed=0)
    return TrialRecord(place, TrialState.COMPLETE, made, (evaluation(1, "tune", 2.0, 0.8, compute_s=compute_s),))


class TestAPlanWhoseRunsEndSooner:
    """A run was to take three seconds."""

    def after(self, seconds, took_s, *, runs=3, workers=1):
        """What the plan has come to after so many runs."""
        by = terms(ConfirmConfig(), seconds=seconds)
        plan = plan_runs(TRIALS, by)
        made = [ran(place, pair, took_s) for place, pair in enumerate(plan.pairs()[:runs])]
        return plan, grown(plan, TRIALS, made, by, workers=workers)

    def test_takes_in_what_was_left_out_and_says_so(self):
        plan, more = self.after(18.0, 1.0)
        assert (plan.candidates, plan.runs) == ((3, 0, 1), 2)
        assert (more.candidates, more.runs, more.added) == ((3, 0, 1, 5), 2, (5,))
        assert more.left_out == "for lack of time: trials 7, 2 left out"
        assert ConfirmPlan.from_plain(more.plain()) == more

    def test_takes_another_run_of_all_before_other_candidates(self):
        plan, more = self.after(11.9, 0.5)
        assert (plan.candidates, plan.runs) == ((3, 0, 1), 1)
        assert (more.candidates, more.runs) == ((3, 0, 1), 2)
        assert more.left_out == "for lack of time: trials 5, 7, 2 left out"

    @pytest.mark.parametrize(("took_s", "workers"), [(3.0, 1), (1.0, 2)])
    def test_stays_where_they_do_not_or_where_another_could_not_end_in_time(self, took_s, workers):
        plan, more = self.after(18.0, took_s, workers=workers)
        assert more == plan

    def test_waits_with_other_candidates_while_there_may_come_to_be_time_for_another_run_of_all(self):
        plan, more = self.after(11.9, 0.5, runs=1)
        assert more == plan
        plan, more = self.after(11.9, 1.5)
        assert (more.candidates, more.runs, more.added) == ((3, 0, 1, 5, 7), 1, (5, 7))

    def test_which_has_all_stays(self):
        plan, more = self.after(1e6, 0.1)
        assert more == plan


def test_where_nothing_fits_nothing_is_certain():
    assert not certain(TRIALS, terms(ConfirmConfig(), seconds=5.9)).runs


def test_a_trial_without_its_weights_is_no_candidate():
    plan = plan_runs(TRIALS, terms(ConfirmConfig(), seconds=1e6, able=lambda record: record.number != 3))
    assert plan.candidates == (0, 1, 5, 7, 2)


def test_a_run_has_the_trials_length_a_fresh_seed_and_nothing_to_choose_by():
    again = Recipe.parse(run_proposal(TRIALS[3], 1, ACCURACY, seed=0).recipe, where="test")
    assert [(stage.steps, stage.epochs) for stage in again.stages] == [(10, None), (20, None)]
    assert again.seed == fresh_seed(0, 1) != fresh_seed(0, 0) != 0
    assert again.optimisation.eval_every_steps > 10**6


def test_off_is_a_word_and_a_wrong_share_is_refused():
    assert ConfirmConfig.parse("off", where="confirm").top == 0
    assert ConfirmConfig.parse({}, where="confirm") == ConfirmConfig.parse("on", where="confirm")
    with pytest.raises(ConfigError, match="max_share"):
        ConfirmConfig.parse({"max_share": 1.0}, where="confirm")
