"""Asynchronous successive halving as a rule over curves."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.record import CONTINUE, Action, Evaluation, Objective
from autoft.tuner.halving import Halving, planned_evaluations

SCORE, LOSS = Objective("accuracy", "max"), Objective("mae", "min")


def curve(values, stage="tune", warm=()):
    return tuple(
        Evaluation(index, stage, index, index, value, 0.5, 0.5, warming_up=index in warm)
        for index, value in enumerate(values, start=1)
    )


PEERS = tuple(curve([value] * 9) for value in (0.1, 0.2, 0.3, 0.4, 0.5))


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        pytest.param([0.05], False, id="before the first rung"),
        pytest.param([0.05, 0.05], True, id="last at the first rung"),
        pytest.param([0.4, 0.45], False, id="second of six: the top third"),
        pytest.param([0.35, 0.35], True, id="third of six"),
        pytest.param([0.45, 0.1], False, id="the best so far counts"),
        pytest.param([0.4, 0.4], False, id="a tie is no defeat"),
        pytest.param([0.05] * 3, False, id="between rungs"),
        pytest.param([0.05] * 6, True, id="at the second rung"),
        pytest.param([0.05] * 7, False, id="behind it"),
        pytest.param([math.nan, math.nan], True, id="no number at all"),
    ],
)
def test_the_top_third_of_a_rung_goes_on(values, stops):
    decision = Halving(2, 3)(curve(values), PEERS, SCORE)
    assert decision.action == (Action.STOP if stops else Action.CONTINUE)


def test_says_place_and_numbers():
    decision = Halving(2, 3)(curve([0.35, 0.25]), PEERS, SCORE)
    assert decision.rule == "not_promoted"
    assert decision.text == (
        "best accuracy 0.35 at evaluation 2 is 3rd of the 6 trials that came to rung 2; the first 2 go on"
    )
    assert "best mae 0.35" in Halving(2, 3)(curve([0.35, 0.4]), PEERS, LOSS).text


def test_turns_with_the_direction():
    assert Halving(1, 3)(curve([0.15]), PEERS, LOSS) == CONTINUE
    assert Halving(1, 3)(curve([0.45]), PEERS, LOSS).action == Action.STOP


def test_the_first_trial_at_a_rung_goes_on():
    assert Halving(1, 3)(curve([0.01]), (), SCORE) == CONTINUE
    assert Halving(3, 3)(curve([0.01] * 3), (curve([0.9] * 2),), SCORE) == CONTINUE


def test_trials_that_stopped_at_the_rung_still_count():
    stopped = tuple(curve([value] * 2) for value in (0.1, 0.2, 0.3, 0.4))
    assert Halving(2, 3)(curve([0.35] * 2), stopped, SCORE) == CONTINUE
    assert Halving(2, 3)(curve([0.25] * 2), stopped, SCORE).action == Action.STOP
    late = Halving(2, 3)(curve([0.25] * 4, warm={2, 3}), stopped, SCORE)
    assert "3rd of the 5 trials that came to rung 2" in late.text


def test_no_trial_is_judged_in_a_warm_up_but_after_it():
    rule = Halving(2, 3)
    assert rule(curve([0.01] * 2, warm={2, 3}), PEERS, SCORE) == CONTINUE
    assert rule(curve([0.01] * 3, warm={2, 3}), PEERS, SCORE) == CONTINUE
    late = rule(curve([0.01] * 4, warm={2, 3}), PEERS, SCORE)
    assert late.action == Action.STOP
    assert "at evaluation 4 is 6th of the 6 trials that came to rung 2" in late.text
    assert rule(curve([0.01] * 5, warm={2, 3}), PEERS, SCORE) == CONTINUE


def test_a_rung_inside_an_unjudged_stage_is_judged_after_it():
    rule = Halving(1, 3, unjudged={"head"})
    head = curve([0.01] * 3, stage="head")
    tune = tuple(Evaluation(index, "tune", index, index, 0.02, 0.5, 0.5) for index in (4, 5))
    assert rule(head, PEERS, SCORE) == CONTINUE
    assert "rung 3" in rule((*head, tune[0]), PEERS, SCORE).text
    assert rule((*head, *tune), PEERS, SCORE) == CONTINUE


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True),
    st.integers(1, 4),
    st.integers(2, 5),
)
def test_when_all_have_come_to_a_rung_the_best_of_them_and_only_they_go_on(values, grace, factor):
    curves = [curve([value] * grace) for value in values]
    rule = Halving(grace, factor)
    on = {
        value
        for place, value in enumerate(values)
        if rule(curves[place], [*curves[:place], *curves[place + 1 :]], SCORE) == CONTINUE
    }
    assert on == set(sorted(values, reverse=True)[: math.ceil(len(values) / factor)])


@pytest.mark.parametrize(
    ("recipe", "length"),
    [
        pytest.param({"stages": [{"epochs": 3}, {"epochs": 7}]}, 10, id="epochs"),
        pytest.param({"stages": [{"epochs": 3}, {"steps": 70}]}, None, id="steps depend on the data"),
        pytest.param({"stages": [{"epochs": 3}], "optimisation": {"eval_every_steps": 5}}, None, id="own interval"),
        pytest.param({"stages": [{"epochs": 3}], "optimisation": {"eval_every_steps": None}}, 3, id="no interval"),
    ],
)
def test_the_length_of_a_recipe_is_known_in_epochs(recipe, length):
    assert planned_evaluations(recipe) == length
