"""The winner on train and validation together."""

from dataclasses import replace

import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState
from autoft.training import StagedTrainer, fixed_length
from autoft.tuner.confirmation.refit import refit
from autoft.tuner.prepare import lay_ground

ACCURACY = Objective("accuracy", "max")
RECIPE = {
    "model": "tiny.TinyNet",
    "data": {"test_fraction": 0.0, "batch_size": 8},
    "stages": [{"name": "head", "epochs": 2}, {"name": "tune", "epochs": 2, "unfreeze": 1, "lr": 1e-2}],
}


@pytest.fixture
def ground():
    torch.manual_seed(0)
    return lay_ground(Recipe.parse(RECIPE, where="test"), tiny_data(), module=TinyNet(), notify=lambda _text: None)


@pytest.fixture
def winner(ground):
    """Two epochs of the head, one of the two of the rest; six steps make an epoch."""
    curve = tuple(
        Evaluation(n, stage, epoch, 6 * n, value, 0.5, 0.5)
        for n, (stage, epoch, value) in enumerate([("head", 1, 0.5), ("head", 2, 0.6), ("tune", 1, 0.9)], start=1)
    )
    return TrialRecord(0, TrialState.COMPLETE, Proposal(ground.recipe.full(), "tpe"), curve)


def never():
    return False


def test_it_is_the_training_on_all_items_for_as_many_steps(ground, winner):
    found = refit(winner, ground, ACCURACY, should_stop=never)
    assert found.told["items"] == 72
    everything = ground.data.splits
    both = torch.arange(72).numpy()
    data = replace(ground.data, splits=replace(everything, train=both))
    recipe = fixed_length(ground.recipe, winner.curve, ACCURACY)
    trainer = StagedTrainer(recipe, ground.loaded.reset(), data, ACCURACY)
    while trainer.advance():
        pass
    assert trainer.changed.keys() == found.weights.keys()
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in trainer.changed.items())


def test_validation_items_are_trained_on(ground, winner):
    targets = ground.data.targets.copy()
    targets[ground.data.splits.val] = 1 - targets[ground.data.splits.val].clip(0, 1)
    other = replace(ground, data=replace(ground.data, targets=targets))
    first, second = (refit(winner, each, ACCURACY, should_stop=never).weights for each in (ground, other))
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_a_budget_that_ends_keeps_the_winner(ground, winner):
    found = refit(winner, ground, ACCURACY, should_stop=lambda: True)
    assert found.weights is None
    assert not found.told["kept"]
    assert "time budget" in found.told["text"]
