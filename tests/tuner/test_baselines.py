"""The three baselines of every search."""

import pytest

from autoft.recipe import Everything, Recipe
from autoft.record import GroupCard, ModelCard
from autoft.tuner.baselines import baselines


def card(depth=4, family="cnn"):
    groups = tuple(GroupCard(f"block{index}", 10, 1, 1 / (depth + 1)) for index in range(depth + 1))
    return ModelCard("tiny", family, groups, "module tree", 32, (0.5,) * 3, (0.5,) * 3)


def recipe(*stages, **sections):
    return Recipe.parse({"model": "tiny", "stages": list(stages)} | sections, where="test")


HEAD = {"name": "probe", "unfreeze": 0, "epochs": 3, "head_lr": 0.02}
TUNE = {"name": "tune", "unfreeze": 2, "epochs": 7, "lr": 2e-4, "layer_decay": 0.7, "norm": "train"}


def lengths(made):
    return [stage.epochs or stage.steps for stage in made.stages]


def test_they_come_cheapest_first():
    assert [name for name, _ in baselines(recipe(HEAD, TUNE), card())] == ["head_only", "standard", "full"]


def test_each_is_as_long_as_the_base_recipe():
    made = dict(baselines(recipe(HEAD, TUNE), card()))
    assert {name: lengths(one) for name, one in made.items()} == {"head_only": [10], "standard": [3, 7], "full": [3, 7]}


def test_head_only_trains_the_head_alone():
    (stage,) = dict(baselines(recipe(HEAD, TUNE), card()))["head_only"].stages
    assert stage.head_only
    assert (stage.head_lr, stage.lr) == (0.02, None)


def test_standard_trains_the_upper_half_at_the_familys_rate_with_frozen_statistics():
    untold = {"name": "tune", "unfreeze": 2, "epochs": 7}
    head, tune = dict(baselines(recipe(HEAD, untold), card(family="vit")))["standard"].stages
    assert head.head_only
    assert (tune.unfreeze, tune.norm, tune.lr) == (0.5, "eval", 5e-5)


def test_full_trains_everything_at_a_tenth_of_the_rate():
    made = dict(baselines(recipe(HEAD, TUNE), card()))
    tune = made["full"].stages[-1]
    assert tune.unfreezing == Everything()
    assert tune.lr == pytest.approx(made["standard"].stages[-1].lr / 10)
    assert tune.norm == "train"


def test_data_optimisation_and_seed_are_those_of_the_base():
    base = recipe(HEAD, TUNE, data={"batch_size": 8, "image_size": 64}, optimisation={"opt": "sgd"}, seed=5)
    for _, made in baselines(base, card()):
        assert made.fingerprint("model", "data", "optimisation", "seed") == base.fingerprint(
            "model", "data", "optimisation", "seed"
        )


@pytest.mark.parametrize(
    ("stages", "expected"),
    [
        pytest.param([HEAD, TUNE], [("probe", "solve", 1), ("probe_polish", "steps", 9)], id="a solution, then steps"),
        pytest.param([{**HEAD, "epochs": 1}], [("probe", "solve", 1)], id="one epoch"),
        pytest.param([{"name": "a", "steps": 40}], [("head", "steps", 40)], id="lengths in steps"),
        pytest.param([{"name": "a", "fit": "solve", "epochs": 1}, TUNE], [("a", "solve", 1), ("a_polish", "steps", 7)]),
    ],
)
def test_where_the_head_can_be_solved_for_head_only_begins_with_it(stages, expected):
    made = dict(baselines(recipe(*stages), card(), solved=True))["head_only"].stages
    assert [(stage.name, stage.fit, stage.epochs or stage.steps) for stage in made] == expected
    assert all(stage.head_only for stage in made)


def test_a_base_recipe_that_solves_has_baselines_all_the_same():
    solving = recipe({"name": "a", "fit": "solve", "penalty": 2.0, "epochs": 1}, TUNE)
    made = dict(baselines(solving, card()))
    assert [stage.fit for stage in made["head_only"].stages] == ["steps"]
    assert [(stage.fit, stage.penalty) for stage in made["standard"].stages] == [("solve", 2.0), ("steps", None)]


@pytest.mark.parametrize(
    ("stages", "head_only", "staged"),
    [
        pytest.param([HEAD, TUNE, {**TUNE, "name": "last", "epochs": 2}], [12], [3, 9], id="three stages"),
        pytest.param([{**HEAD, "epochs": 8}], [8], [2, 6], id="a head stage alone"),
        pytest.param([TUNE], [7], [1, 6], id="no head stage"),
        pytest.param([{**HEAD, "epochs": 1}], [1], [1, 1], id="the shortest"),
        pytest.param(
            [{"name": "a", "steps": 40}, {"name": "b", "unfreeze": 1, "steps": 60}], [100], [40, 60], id="steps"
        ),
        pytest.param([HEAD, {"name": "b", "unfreeze": 1, "steps": 60}], [3, 60], [3, 60], id="epochs and steps"),
    ],
)
def test_lengths_of_other_base_recipes(stages, head_only, staged):
    made = dict(baselines(recipe(*stages), card()))
    assert lengths(made["head_only"]) == head_only
    assert all(stage.head_only for stage in made["head_only"].stages)
    assert lengths(made["standard"]) == staged
    assert lengths(made["full"]) == staged


def test_a_model_without_backbone_groups_has_the_head_alone():
    assert [name for name, _ in baselines(recipe(HEAD, TUNE), card(depth=0))] == ["head_only"]


def test_a_model_with_one_group_unfreezes_it():
    assert dict(baselines(recipe(HEAD, TUNE), card(depth=1)))["standard"].stages[-1].unfreeze == 1


def test_a_schedule_ends_where_its_stage_does():
    base = recipe(HEAD, {**TUNE, "schedule": "cosine", "schedule_steps": 500})
    for _, made in baselines(base, card()):
        assert all(stage.schedule_steps is None for stage in made.stages)
    assert dict(baselines(base, card()))["full"].stages[-1].schedule == "cosine"
