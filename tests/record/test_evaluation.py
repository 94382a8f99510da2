"""Evaluations and objectives."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState, best_evaluation, best_first

ANY_FLOAT = st.floats(allow_nan=False)
EVALUATIONS = st.builds(
    Evaluation,
    index=st.integers(1, 99),
    stage=st.text(min_size=1),
    epoch=ANY_FLOAT,
    step=st.integers(0),
    value=ANY_FLOAT,
    train_loss=ANY_FLOAT,
    val_loss=ANY_FLOAT,
    metrics=st.dictionaries(st.text(min_size=1), ANY_FLOAT, max_size=3),
    warming_up=st.booleans(),
    diverged=st.none() | st.text(min_size=1),
)


def at(value, index=1, **more):
    return Evaluation(index=index, stage="s", epoch=1.0, step=1, value=value, train_loss=0.0, val_loss=0.0, **more)


@given(EVALUATIONS)
def test_evaluations_survive_json(evaluation):
    text = json.dumps(evaluation.plain(), allow_nan=False)
    assert Evaluation.from_plain(json.loads(text)) == evaluation


def test_nan_survives_json():
    again = Evaluation.from_plain(json.loads(json.dumps(at(math.nan).plain(), allow_nan=False)))
    assert math.isnan(again.value)


@pytest.mark.parametrize(
    ("mode", "values", "best"),
    [
        pytest.param("max", [0.1, 0.3, 0.2], 0.3, id="max"),
        pytest.param("min", [0.1, 0.3, 0.2], 0.1, id="min"),
        pytest.param("max", [math.nan, 0.2], 0.2, id="nan first"),
        pytest.param("min", [0.2, math.nan, -math.inf], 0.2, id="not finite never wins"),
    ],
)
def test_the_best_is_the_best_finite_value(mode, values, best):
    curve = tuple(at(value, index) for index, value in enumerate(values, 1))
    found = best_evaluation(curve, Objective("m", mode))
    assert found is not None
    assert found.value == best


def test_the_earlier_of_two_equals_is_the_best():
    curve = (at(0.5, 1), at(0.5, 2))
    found = best_evaluation(curve, Objective("m", "max"))
    assert found is curve[0]


def test_a_diverged_evaluation_is_never_the_best():
    assert best_evaluation((at(0.9, diverged="it did"),), Objective("m", "max")) is None


def test_of_equal_values_the_surer_is_the_best():
    curve = (replace(at(0.5, 1), val_loss=0.4), replace(at(0.5, 2), val_loss=0.3), replace(at(0.4, 3), val_loss=0.1))
    curve = (*curve, replace(at(0.5, 4), val_loss=math.nan))
    assert best_evaluation(curve, Objective("m", "max")) == curve[1]
    assert best_evaluation(curve, Objective("m", "min")) == curve[2]


def test_trials_are_in_the_order_of_their_best_evaluations():
    recipes = [
        (TrialState.COMPLETE, (at(0.5), at(0.7))),
        (TrialState.FAIL, (at(0.9),)),
        (TrialState.PRUNED, (replace(at(0.7), val_loss=-0.1),)),
        (TrialState.RUNNING, ()),
        (TrialState.WAITING, (at(0.7),)),
    ]
    records = [TrialRecord(number, state, Proposal({}, "tpe"), curve) for number, (state, curve) in enumerate(recipes)]
    assert [record.number for record in best_first(records[::-1], Objective("m", "max"))] == [2, 0, 4]
