from collections.abc import Callable

import numpy as np
import pytest

from autoft.recipe import Recipe
from autoft.record import Family, GroupCard, ModelCard
from autoft.space import RandomTrial


@pytest.fixture
def card() -> Callable[..., ModelCard]:
    def make(family: Family = "cnn", depth: int = 5, *, drop_path: bool = False) -> ModelCard:
        groups = tuple(GroupCard(f"group{index}", 10, 1, 1 / (depth + 1)) for index in range(depth + 1))
        return ModelCard("net", family, groups, "timm", 96, (0.5,) * 3, (0.5,) * 3, drop_path)

    return make


@pytest.fixture
def base() -> Recipe:
    stages = [{"name": "head", "epochs": 3}, {"name": "tune", "unfreeze": 1, "epochs": 7}]
    return Recipe.parse({"model": "net", "stages": stages}, where="base")


@pytest.fixture
def trial() -> Callable[..., RandomTrial]:
    return lambda seed=0: RandomTrial(np.random.default_rng(seed))
