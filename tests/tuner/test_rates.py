"""Rates that are too high: for which recipes they count, and how many tests can be paid for."""

import pytest
import torch
from tiny import TinyNet, tiny_data
from torch import nn

from autoft.recipe import Recipe
from autoft.training.rates import ROWS, STEPS
from autoft.tuner.prepare import lay_ground
from autoft.tuner.rates import RateLimits, affordable

LIMITS = RateLimits("adamw", {1: 3e-3, 2: 1e-3})


class Normed(TinyNet):
    """The tiny network with batch statistics."""

    def __init__(self):
        super().__init__()
        self.block2 = nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU())


@pytest.fixture(scope="module")
def models():
    base = Recipe.parse({"model": "own", "stages": [{"name": "head", "unfreeze": 0, "epochs": 1}]}, where="test")
    torch.manual_seed(0)
    modules = {"plain": TinyNet(), "normed": Normed()}
    return {
        name: lay_ground(base, tiny_data(), module=module, notify=lambda _text: None).loaded
        for name, module in modules.items()
    }


def recipe(depth, lr, **more):
    stage = {"name": "tune", "unfreeze": depth, "epochs": 1, "head_lr": 1e-3, "norm": more.pop("norm", "eval")}
    plain = {"model": "own", "stages": [{**stage, **({"lr": lr} if depth else {})}], **more}
    return Recipe.parse(plain, where="test")


@pytest.mark.parametrize(
    ("model", "tried", "limits", "exceeded"),
    [
        ("plain", recipe(1, 2e-3), LIMITS, False),
        ("plain", recipe(1, 4e-3), LIMITS, True),
        ("plain", recipe(2, 2e-3), LIMITS, True),
        ("plain", recipe(2, 4e-3), RateLimits("adamw", {1: 3e-3}), True),
        ("plain", recipe(1, 4e-3), RateLimits("adamw", {2: 1e-3}), False),
        ("plain", recipe(0, None), LIMITS, False),
        ("plain", recipe(2, 2e-3), RateLimits(), False),
        ("plain", recipe(2, 2e-3, optimisation={"opt": "sgd"}), LIMITS, False),
        ("plain", recipe(2, 2e-3, norm="train"), LIMITS, True),
        ("normed", recipe(2, 2e-3), LIMITS, True),
        ("normed", recipe(2, 2e-3, norm="train"), LIMITS, False),
    ],
    ids=[
        "below",
        "above",
        "a deeper one has its own",
        "or that of the next shallower one",
        "what is shallower than any test has none",
        "nothing is unfrozen",
        "nothing was tested",
        "another optimizer",
        "no batch statistics",
        "frozen batch statistics",
        "fresh batch statistics",
    ],
)
def test_a_rate_is_too_high_where_a_test_broke(models, model, tried, limits, exceeded):
    assert limits.exceeded(tried, models[model]) is exceeded


def test_tests_cost_a_twentieth_of_a_full_fine_tune_at_most_and_the_cheapest_come_first(models):
    loaded = models["plain"]
    shares = [group.cost_share for group in loaded.card.groups]
    one = STEPS * ROWS * sum(shares[2:]) / 0.05
    assert affordable(loaded, [1, 2], passes=0.99 * one) == []
    assert affordable(loaded, [1, 2], passes=1.01 * one) == [2]
    assert affordable(loaded, [1, 2], passes=1e6) == [2, 1]
