"""The choice: the simplest within one paired standard error, with intervals, and honest about what is not real."""

import numpy as np
import pytest

from autoft.record import Objective
from autoft.tuner.confirmation.runs import FILE, Outcome, read_outcome
from autoft.tuner.confirmation.verdict import Entrant, judge, plain_verdict

ACCURACY = Objective("accuracy", "max")
FROZEN = Entrant(0, "baseline:head_only", 10, 1.0, head_alone=True)
STANDARD = Entrant(1, "baseline:standard", 100, 2.0)
DEEP = Entrant(5, "tpe", 1000, 3.0)


def outcomes(right, *, runs=2, items=100):
    """Per trial so many right of the items of each run; what the better one gets right includes the other's."""
    found = {}
    for trial, count in right.items():
        for run in range(runs):
            scores = (np.arange(items) < count).astype(float)
            found[trial, run] = Outcome(np.arange(run * items, (run + 1) * items), scores, scores.mean())
    return found


def verdict(right, entrants=(DEEP, FROZEN, STANDARD), failed=frozenset(), **more):
    return plain_verdict(judge(entrants, outcomes(right), failed, ACCURACY, **more))


def test_a_clear_winner_wins_and_what_unfreezing_bought_is_real():
    found = verdict({0: 60, 1: 75, 5: 90})
    assert (found["winner"], found["runs"], found["held_out_items"]) == (5, 2, 200)
    frozen = found["unfreezing"]["over_frozen"]
    assert frozen["difference"] == pytest.approx(0.30)
    assert frozen["real"]
    assert frozen["interval"][0] > 0
    assert "is real" in frozen["text"]
    winner = found["candidates"][0]
    assert winner["mean"] == pytest.approx(0.9)
    assert winner["interval"][0] < 0.9 < winner["interval"][1]


def test_the_simplest_within_one_standard_error_wins_and_the_reason_says_so():
    found = verdict({0: 89, 1: 90, 5: 90}, entrants=(DEEP, FROZEN))
    assert found["winner"] == 5, "two items of 200, all of them against it, are more than one standard error"
    scores = outcomes({0: 89, 5: 89})
    scores[5, 0].scores[-1] = 1.0
    close = plain_verdict(judge((DEEP, FROZEN), scores, frozenset(), ACCURACY))
    assert close["winner"] == 0
    assert "simpler" in close["why"]
    bought = close["unfreezing"]["over_frozen"]
    assert not bought["real"]
    assert "not real" in bought["text"]
    assert "which did not win" in bought["text"]


def test_who_had_no_time_to_run_again_has_not_been_beaten():
    judged = judge((FROZEN, STANDARD), outcomes({0: 60, 1: 75}), frozenset(), ACCURACY)
    cut = plain_verdict(judged, best=5)
    assert cut["winner"] is None
    assert cut["why"] == (
        "trial 5, the best by validation, stays: there was no time for its run to come to its end; trial 1 is the best "
        "of 2 on 200 held-out items, 2 runs of each"
    )
    assert {**cut, "winner": 1, "why": ""} == {**plain_verdict(judged), "why": ""}, (
        "what was found is told all the same"
    )
    assert plain_verdict(judged, best=0) == plain_verdict(judged), "it was beaten by one that has run"


def test_who_failed_is_out_and_nobody_is_called_a_winner_alone():
    assert verdict({0: 60, 1: 75}, failed=frozenset({5}))["winner"] == 1
    assert judge((DEEP, FROZEN), outcomes({0: 60}), frozenset({5}), ACCURACY) is None


def test_only_runs_that_all_have_count_and_without_one_the_first_decides():
    scores = outcomes({0: 60, 1: 75, 5: 90})
    del scores[0, 1]
    assert judge((DEEP, FROZEN, STANDARD), scores, frozenset(), ACCURACY).runs == (0,)
    del scores[0, 0]
    rest = judge((DEEP, FROZEN, STANDARD), scores, frozenset(), ACCURACY)
    assert [one.trial for one in rest.entrants] == [5, 1]
    assert judge((DEEP, FROZEN), {}, frozenset(), ACCURACY) is None


def test_groups_widen_the_interval():
    """Every group of twenty items is one patient: the same lead says less."""
    alone = verdict({0: 60, 1: 75, 5: 80})["unfreezing"]["over_standard"]
    groups = np.array([f"g{number // 20}" for number in range(200)])
    grouped = verdict({0: 60, 1: 75, 5: 80}, groups=groups)["unfreezing"]["over_standard"]
    assert alone["real"]
    assert np.ptp(grouped["interval"]) > np.ptp(alone["interval"])


def test_several_seeds_on_the_same_items_are_averaged():
    scores = outcomes({0: 60, 5: 90})
    for (trial, run), outcome in list(scores.items()):
        scores[trial, run] = Outcome(np.arange(100), outcome.scores, outcome.value)
    assert plain_verdict(judge((DEEP, FROZEN), scores, frozenset(), ACCURACY))["held_out_items"] == 100


def test_a_loss_is_told_in_its_own_unit_and_a_lower_one_wins():
    scores = {
        (entrant.trial, 0): Outcome(np.arange(50), -np.full(50, loss) - np.linspace(0, 0.1, 50), loss)
        for entrant, loss in ((DEEP, 0.2), (FROZEN, 0.5))
    }
    found = plain_verdict(judge((DEEP, FROZEN), scores, frozenset(), Objective("log_loss", "min")))
    assert found["winner"] == 5
    assert found["candidates"][0]["interval"][0] < 0.25 < found["candidates"][0]["interval"][1]
    assert found["unfreezing"]["over_frozen"]["difference"] == pytest.approx(0.3)
    assert found["unfreezing"]["over_frozen"]["text"] == (
        "trial 5 is better by 0.3 in log_loss against head_only, and the difference is real: +0.3 to +0.3 (95%)"
    )


def test_a_torn_outcome_is_none(tmp_path):
    assert read_outcome(tmp_path, ACCURACY) is None
    (tmp_path / FILE).write_bytes(b"PK\x03\x04 half of it")
    assert read_outcome(tmp_path, ACCURACY) is None
