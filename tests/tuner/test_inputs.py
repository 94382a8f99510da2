"""A run goes on with the model and the data that it began with."""

from dataclasses import replace

import pytest

from autoft.errors import RunError
from autoft.record import Objective
from autoft.tuner.inputs import check_identity, identity
from autoft.tuner.prepare import split_of

OBJECTIVE = Objective("accuracy", "max")


@pytest.fixture
def begun(world):
    """Who a run was, and the content of its split.json."""
    _, ground, _ = world
    who = identity(ground.recipe, ground.data, OBJECTIVE, ground.loaded.digest)
    return ground, who, {"identity": who, **split_of(ground.data)}


def test_the_same_model_and_data_go_on(begun):
    ground, who, split = begun
    check_identity(split, who, ground.data, "runs/tiny")


def test_other_weights_are_refused_although_the_model_has_its_name(begun):
    """What trials have trained lies on top of the weights that they began with."""
    ground, _, split = begun
    now = identity(ground.recipe, ground.data, OBJECTIVE, "another")
    with pytest.raises(
        RunError, match=r"weights_digest was .* \(the weights that training begins with are others: .*seed"
    ):
        check_identity(split, now, ground.data, "runs/tiny")


def test_random_weights_of_timm_are_told_by_the_seed(begun):
    ground, _, _ = begun
    random = ground.recipe.override({"model.weights": "random"})
    assert identity(random, ground.data, OBJECTIVE, "one") == identity(random, ground.data, OBJECTIVE, "another")


@pytest.mark.parametrize(
    ("lost", "added", "said"),
    [
        (["train/000003"], [], r"1 item is gone, such as train/000003\)"),
        ([], ["train/100", "train/101"], r"2 items are new, such as train/100\)"),
        (["train/000003"], ["x"], "1 item is gone, such as train/000003 and 1 item is new, such as x"),
        ([], [], "the items have their names, but not their content, labels, groups or given splits"),
    ],
    ids=["gone", "new", "renamed", "changed"],
)
def test_what_has_become_of_the_data_is_told(begun, lost, added, said):
    ground, who, split = begun
    names = (*(name for name in ground.data.names if name not in lost), *added)
    data = replace(ground.data, splits=replace(ground.data.splits, names=names))
    with pytest.raises(RunError, match=f"data was .* and is now 'other' .*{said}"):
        check_identity(split, {**who, "data": "other"}, data, "runs/tiny")
