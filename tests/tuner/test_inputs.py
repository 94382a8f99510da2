"""A run goes on with the model and the data that it began with."""

from dataclasses import replace

import pytest
import torch

from autoft.errors import ConfigError, RunError
from autoft.record import Objective
from autoft.tuner.inputs import check_identity, check_torch, identity
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


def test_a_run_of_a_version_that_kept_less_is_refused_with_what_to_do(begun):
    ground, who, split = begun
    older = {**split, "identity": {key: value for key, value in split["identity"].items() if key != "weights_digest"}}
    told = r"runs/tiny: was begun by an earlier version .*did not keep its weights_digest.*warm_start=runs/tiny"
    with pytest.raises(RunError, match=told):
        check_identity(older, who, ground.data, "runs/tiny")


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


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
def test_without_gradients_nothing_is_begun(off):
    check_torch()
    with off(), pytest.raises(ConfigError, match=r"gradients are switched off .*: call autoft outside of it"):
        check_torch()


def test_another_default_type_or_device_of_torch_is_refused():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(
            ConfigError, match=r"set_default_dtype: must be torch.float32 .*, got torch.float64; set it"
        ):
            check_torch()
    finally:
        torch.set_default_dtype(torch.float32)
    with (
        torch.device("meta"),
        pytest.raises(ConfigError, match=r"set_default_device: must be cpu .*, got meta; set it"),
    ):
        check_torch()
