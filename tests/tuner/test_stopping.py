"""When a search is enough: recipes to come that are expected to bring too little, and what it says."""

import numpy as np
import pytest

from autoft.pruning.replay import RecordedTask, recorded_curve
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.study import MemoryLedger
from autoft.tuner.policy import Policy
from autoft.tuner.recorded import curves_of, recorded_pool
from autoft.tuner.simulator import simulate
from autoft.tuner.stopping import FEWEST, gain_to_come, not_worth_it

SCORE, LOSS = Objective("accuracy", "max"), Objective("log_loss", "min")


def record(number, value, *, state=TrialState.COMPLETE, reason=""):
    curve = (Evaluation(1, "tune", 1, 1, value, 0.5, 0.5),)
    return TrialRecord(number, state, Proposal({}, "tpe"), curve, reason)


def records_of(values, **more):
    return [record(number, value, **more) for number, value in enumerate(values)]


def search(values, **changes):
    task = RecordedTask(
        "made", ("x",), np.arange(len(values))[:, None], tuple(recorded_curve([v], [v]) for v in values)
    )
    sampler = recorded_pool(task, range(len(values)), model=False)
    made = {"objective": LOSS, "sampler": sampler, "baselines": (), "scheduler": "none", "num_samples": len(values)}
    policy, ledger = Policy(**(made | changes)), MemoryLedger(LOSS)
    return policy, simulate(policy, curves_of(task), ledger=ledger).records


class TestGain:
    def test_says_nothing_of_few_trials_or_of_none_to_come(self):
        assert gain_to_come(records_of(range(FEWEST - 1)), SCORE, 5) is None
        assert gain_to_come(records_of(range(FEWEST)), SCORE, 0) is None

    def test_passes_over_what_runs_crashed_or_diverged(self):
        known = records_of(np.linspace(0, 1, FEWEST))
        others = [
            record(90, 9.0, state=TrialState.RUNNING),
            record(91, 9.0, state=TrialState.FAIL),
            record(92, float("nan"), state=TrialState.PRUNED, reason="diverged"),
            record(93, 9.0, state=TrialState.WAITING),
        ]
        assert gain_to_come([*known, *others], SCORE, 3) == gain_to_come(known, SCORE, 3)

    def test_counts_what_paused(self):
        known = records_of(np.linspace(0, 1, FEWEST - 1))
        paused = record(9, 0.5, state=TrialState.WAITING, reason="not_promoted")
        assert gain_to_come([*known, paused], SCORE, 3) > 0

    def test_turns_with_the_direction(self):
        values = np.random.default_rng(0).random(20)
        assert gain_to_come(records_of(values), SCORE, 5) == pytest.approx(gain_to_come(records_of(-values), LOSS, 5))

    @pytest.mark.parametrize("more", [1, 5, 20, 200])
    def test_is_on_average_not_below_what_more_recipes_really_bring(self, more):
        generator, short = np.random.default_rng(more), []
        for _ in range(200):
            values = generator.beta(5, 2, 20 + more)
            gain = max(0.0, values[20:].max() - values[:20].max())
            short.append(gain_to_come(records_of(values[:20]), SCORE, more) - gain)
        assert np.mean(short) > -2 * np.std(short) / 200**0.5

    def test_alike_trials_promise_nothing(self):
        assert gain_to_come(records_of([0.7] * 12), SCORE, 100) == 0


def test_the_sentence_has_the_numbers():
    text = not_worth_it(records_of([0.7] * 12), SCORE, more=30, min_gain=0.001)
    assert text == ("30 more recipes were expected to better accuracy by at most 0, less than search.min_gain (0.001)")
    assert not_worth_it(records_of([0.7] * 12), SCORE, more=30, min_gain=None) is None
    assert not_worth_it(records_of(range(12)), SCORE, more=30, min_gain=0.001) is None


def test_a_search_ends_when_it_is_enough_and_again_after_a_resume():
    values = [0.5 + 0.0001 * (number % 7) for number in range(60)]
    policy, records = search(values, min_gain=0.01)
    assert len(records) == FEWEST
    assert "search.min_gain" in policy.enough(records)
    assert policy.next(records) is None
    whole, all_of_them = search(values)
    assert len(all_of_them) == 60
    assert whole.enough(all_of_them) == "all 60 recipes were tried"


def test_a_search_that_still_gains_goes_on():
    assert len(search([1 / (1 + number) for number in range(40)], min_gain=1e-6)[1]) == 40
