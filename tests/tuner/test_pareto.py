"""Several objectives: the front, and what each trial stands with."""

import itertools
import math

import pytest
import torch
from tiny import TinyNet

from autoft.data import Task
from autoft.errors import UnknownNameError
from autoft.model import load_model
from autoft.recipe import ModelConfig, Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.pareto import cost_s, objectives_of, pareto_front, trained_parameters

SCORE = Objective("accuracy", "max")
TWO = (SCORE, Objective("cost", "min"))
HEAD, BLOCK2, BLOCK1 = 3 * 16 + 3, 16 * 16 + 16, 8 * 16 + 16


@pytest.fixture(scope="module")
def loaded():
    return load_model(
        ModelConfig(name="tiny.TinyNet"), num_outputs=3, module=TinyNet(), example={"input": torch.zeros(2, 8)}, seed=0
    )


def recipe(unfreeze=0):
    stages = [{"name": "head", "unfreeze": 0, "epochs": 1}, {"name": "tune", "unfreeze": unfreeze, "epochs": 3}]
    return Recipe.parse({"model": "tiny.TinyNet", "stages": stages}, where="test")


def record(number, *values, predicted=None, unfreeze=0, state=TrialState.COMPLETE, **metrics):
    curve = tuple(
        Evaluation(
            index, "head" if index == 1 else "tune", max(1, index - 1), index, value, 0.5, 0.5, metrics, compute_s=10.0
        )
        for index, value in enumerate(values, start=1)
    )
    return TrialRecord(number, state, Proposal(recipe(unfreeze).full(), "tpe", predicted=predicted or {}), curve)


def costing(number, value, seconds, **more):
    return record(number, value, predicted={"head": float(seconds)}, **more)


def on_front(records, loaded, objectives=TWO):
    return [point["trial"] for point in pareto_front(records, objectives, loaded)["front"]]


class TestFront:
    def test_has_what_no_other_betters_in_all_objectives_the_best_first(self, loaded):
        records = [costing(0, 0.5, 1), costing(1, 0.9, 9), costing(2, 0.7, 3), costing(3, 0.6, 4), costing(4, 0.9, 10)]
        assert on_front(records, loaded) == [1, 2, 0]

    def test_of_equals_it_has_the_earliest(self, loaded):
        for order in itertools.permutations([costing(0, 0.5, 1), costing(1, 0.5, 1), costing(2, 0.4, 2)]):
            assert on_front(order, loaded) == [0]

    def test_passes_over_what_crashed_or_has_no_value(self, loaded):
        records = [costing(0, 0.5, 2), costing(1, 0.9, 1, state=TrialState.FAIL), costing(2, math.nan, 1), record(3)]
        assert on_front(records, loaded) == [0]

    def test_metrics_turn_with_their_own_mode_and_missing_ones_keep_a_trial_off(self, loaded):
        records = [
            record(0, 0.5, log_loss=0.2),
            record(1, 0.6, log_loss=0.3),
            record(2, 0.4, log_loss=0.3),
            record(3, 0.9),
        ]
        assert on_front(records, loaded, (SCORE, Objective("log_loss", "min"))) == [1, 0]

    def test_says_objectives_modes_and_values(self, loaded):
        found = pareto_front([costing(0, 0.5, 2, unfreeze=1)], (*TWO, Objective("parameters", "min")), loaded)
        assert found["objectives"] == {"accuracy": "max", "cost": "min", "parameters": "min"}
        values = {"accuracy": 0.5, "cost": 2.0, "parameters": HEAD + BLOCK2}
        assert found["front"] == [{"trial": 0, "values": values}]

    def test_forgetting_is_that_of_trials_of_which_it_was_measured(self, loaded):
        two = (SCORE, Objective("forgetting", "min"))
        records = [record(0, 0.5), record(1, 0.9), record(2, 0.7), record(3, 0.99)]
        found = pareto_front(records, two, loaded, {0: 1.0, 1: 0.25, 2: 0.25})
        assert found["objectives"] == {"accuracy": "max", "forgetting": "min"}
        front = [(point["trial"], point["values"]["forgetting"]) for point in found["front"]]
        assert front == [(1, 0.75), (0, 0.0)]

    def test_without_trials_it_is_empty(self, loaded):
        assert on_front([], loaded) == []


def test_cost_is_predicted_up_to_the_best_evaluation_stage_by_stage():
    assert cost_s(record(0, 0.1, 0.3, 0.5, 0.4, predicted={"head": 2.0, "tune": 10.0}), SCORE) == 22
    assert cost_s(record(0, 0.1, 0.3, 0.5, 0.4), SCORE) == 30, "measured where nothing was predicted"


@pytest.mark.parametrize(
    ("unfreeze", "count"), [(0, HEAD), (1, HEAD + BLOCK2), ("all", HEAD + BLOCK2 + BLOCK1), (["block1"], HEAD + BLOCK1)]
)
def test_parameters_are_those_of_all_groups_that_any_stage_trains(unfreeze, count, loaded):
    assert trained_parameters(recipe(unfreeze), loaded) == count


def test_an_objective_that_is_no_metric_of_the_task_is_told():
    assert [each.mode for each in objectives_of(["mae", "r2", "cost"], Task("regression"))] == ["min", "max", "min"]
    with pytest.raises(UnknownNameError, match=r"^search.objectives: .*accuracy.* cost, parameters, forgetting$"):
        objectives_of(["accurac", "cost"], Task("single_label"))
