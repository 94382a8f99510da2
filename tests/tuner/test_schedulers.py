"""Schedulers by name: rules over curves."""

import math
from collections import Counter
from typing import get_args

import pytest

from autoft.record import CONTINUE, Action, Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.schedulers import Median, SchedulerName, bracket_of, scheduler_rule

SCORE, LOSS = Objective("accuracy", "max"), Objective("mae", "min")


def curve(values, stage="tune", warm=()):
    return tuple(
        Evaluation(index, stage, index, index, value, 0.5, 0.5, warming_up=index in warm)
        for index, value in enumerate(values, start=1)
    )


def record(number, values=(), *, epochs=18):
    stages = [{"name": "head", "unfreeze": 0, "epochs": 2}, {"name": "tune", "unfreeze": 2, "epochs": epochs - 2}]
    return TrialRecord(number, TrialState.RUNNING, Proposal({"stages": stages}, "tpe"), curve(values))


PEERS = tuple(curve([value - 0.1, value + 0.1] * 3) for value in (0.1, 0.2, 0.3, 0.4, 0.5))


class TestMedian:
    @pytest.mark.parametrize(
        ("values", "stops"),
        [
            pytest.param([0.1], False, id="before the grace period is over"),
            pytest.param([0.1, 0.29], True, id="best behind the median of averages"),
            pytest.param([0.31, 0.1], False, id="the best so far counts"),
            pytest.param([0.1, 0.3], False, id="a tie is no defeat"),
            pytest.param([0.31, 0.1, 0.1], False, id="averages grow no faster than bests"),
            pytest.param([math.nan, math.nan], True, id="no number at all"),
            pytest.param([0.1] * 7, False, id="no peer came as far"),
        ],
    )
    def test_stops_what_is_behind(self, values, stops):
        decision = Median(2)(curve(values), PEERS, SCORE)
        assert decision.action == (Action.STOP if stops else Action.CONTINUE)

    def test_says_the_numbers(self):
        decision = Median(2)(curve([0.1, 0.2]), PEERS, SCORE)
        assert decision.rule == "median"
        assert decision.text == (
            "best accuracy 0.2 at evaluation 2 is behind 0.3, the median of the running averages of 5 peers"
        )

    def test_turns_with_the_direction(self):
        assert Median(2)(curve([0.2, 0.2]), PEERS, LOSS) == CONTINUE
        assert Median(2)(curve([0.4, 0.4]), PEERS, LOSS).action == Action.STOP

    def test_is_silent_with_few_peers_in_a_warm_up_and_in_opening_stages(self):
        low = [0.01, 0.01]
        assert Median(2)(curve(low), PEERS[:4], SCORE) == CONTINUE
        assert Median(2)(curve(low, warm=(2,)), PEERS, SCORE) == CONTINUE
        assert Median(2, unjudged={"head"})(curve(low, stage="head"), PEERS, SCORE) == CONTINUE

    def test_a_peer_that_diverged_pulls_the_median_down(self):
        broken = (curve([math.nan] * 6),) * 3
        assert Median(2)(curve([0.05, 0.05]), (*PEERS[:2], *broken), SCORE) == CONTINUE


class TestHyperband:
    @pytest.mark.parametrize(
        ("epochs", "brackets"),
        [
            pytest.param(50, 3, id="2, 6 and 18 evaluations"),
            pytest.param(5, 1, id="one rung"),
            pytest.param(6, 2, id="two"),
        ],
    )
    def test_spreads_trials_so_that_brackets_spend_alike(self, epochs, brackets):
        found = Counter(
            bracket_of(record(number, epochs=epochs), grace_period=2, reduction_factor=3) for number in range(300)
        )
        assert sorted(found) == list(range(brackets))
        assert list(found.values()) == sorted(found.values(), reverse=True)

    def test_a_trial_is_first_judged_where_its_bracket_begins_and_by_its_own(self):
        records = [record(number, [0.1 + number / 1000] * 18) for number in range(40)]
        for one in records[:8]:
            bracket = bracket_of(one, grace_period=2, reduction_factor=3)
            judged = [length for length in range(1, 19) if decided("hyperband", one, records, length) != CONTINUE]
            assert judged
            assert judged[0] == 2 * 3**bracket
            size = sum(bracket_of(other, grace_period=2, reduction_factor=3) == bracket for other in records)
            assert f"of the {size} trials" in decided("hyperband", one, records, judged[0]).text


def decided(name, one, records, length):
    """What a scheduler says of a trial after so many evaluations."""

    def peers(wanted):
        return [other.curve for other in records if other.number != one.number and wanted(other)]

    rule = scheduler_rule(name, one, peers, grace_period=2, reduction_factor=3, min_peers=5)
    return rule(one.curve[:length], peers(lambda _: True), SCORE)


def test_every_name_has_a_rule_and_those_that_stop_nothing_stop_nothing():
    records = [record(number, [number / 100] * 18) for number in range(20)]
    stopping = {
        name
        for name in get_args(SchedulerName)
        if any(decided(name, records[0], records, length) != CONTINUE for length in (2, 6, 18))
    }
    assert stopping == {"asha", "hyperband", "median"}
