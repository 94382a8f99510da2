"""What comes later among the first recipes of a search."""

import pytest

from autoft.model import complete
from autoft.recipe import Recipe
from autoft.record import GroupCard, ModelCard
from autoft.tuner.first import too_shallow


class Described:
    """A model of which one knows the groups alone: four below the head."""

    groups = ()
    card = ModelCard(
        "net", "cnn", tuple(GroupCard(f"g{index}", 10, 1, 0.2) for index in range(5)), "timm", 96, (0.5,), (0.5,)
    )


def recipe(*depths):
    stages = [{"name": f"stage{place}", "epochs": 1, "unfreeze": depth} for place, depth in enumerate(depths)]
    return complete(Recipe.parse({"model": "net", "stages": stages}, where="test"), Described.card)


@pytest.mark.parametrize(
    ("depths", "needed", "expected"),
    [
        ((0,), 0, False),
        ((0,), 1, True),
        ((0, 2), 0, False),
        ((0, 2), 1, False),
        ((0, 2), 2, True),
        ((0, 2), 3, True),
        ((0, 3, 1), 2, False),
        ((0, 4), 3, False),
    ],
)
def test_a_recipe_is_too_shallow_where_it_trains_no_more_than_what_is_worth_retraining(depths, needed, expected):
    assert too_shallow(recipe(*depths), Described(), needed) == expected
