from dataclasses import replace
from functools import partial

import pytest
import torch
from reuse_runs import data_of

from autoft.model import load_model
from autoft.recipe import ModelConfig, Recipe
from autoft.training.checkpoint import best_weights, write_checkpoint
from autoft.tuner.closing import Allowance, Closing, forgetting_of
from autoft.tuner.prepare import Ground, scorer_of


@pytest.fixture(scope="module")
def ground(tmp_path_factory):
    """A small transformer whose weights file has a classifier."""
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    random = load_model(ModelConfig(name="test_vit", weights="random"), num_outputs=11, seed=9)
    torch.save(random.module.state_dict(), path)
    config = ModelConfig(name="test_vit", weights=str(path))
    raw = {"model": config.plain(), "data": {"batch_size": 8}, "stages": [{"name": "head", "epochs": 1}]}
    recipe = Recipe.parse(raw, where="test").override({"optimisation.memory_format": "contiguous"})
    data = data_of(64, train=15)
    return Ground(recipe, load_model(config, num_outputs=5, image_size=64), data, None)


@pytest.fixture(scope="module")
def finalists(ground, tmp_path_factory):
    """Checkpoints of a trial that moved the last block and of one that did not, and one that was dropped."""
    folder = tmp_path_factory.mktemp("trials")
    start = {name: tensor.detach() for name, tensor in ground.loaded.module.named_parameters()}
    for number, group in ((5, -2), (0, -1)):
        weights = {name: start[name] * 1.5 for name in ground.loaded.groups[group].parameters}
        write_checkpoint(folder / str(number), {"trial_best": weights}, {"best": "trial_best"})
    return {number: partial(best_weights, folder / number) for number in ("5", "0", "1")}


def allowance(*, left_s=None, pass_s=1.0):
    return Allowance(Closing(until=left_s, now=lambda: 0.0), pass_s)


@pytest.mark.parametrize(
    ("left_s", "passes", "enough"),
    [(None, [10**9], True), (2.0, [64], True), (1.9, [64], False), (2.0, [33, 1], False), (-1.0, [1], False)],
    ids=["no budget", "whole micro-batches", "a little short", "two passes", "over already"],
)
def test_passes_are_afforded_by_whole_micro_batches(left_s, passes, enough):
    assert allowance(left_s=left_s).affords(*passes) is enough


def test_forgetting_is_told_of_every_finalist_that_has_weights(ground, finalists):
    found, notes = forgetting_of(scorer_of(ground, None), finalists, allowance())
    assert list(found) == ["5", "0"]
    assert notes == []
    assert found["0"]["retention"] == found["0"]["agreement"] == 1.0
    assert found["5"]["drift"] > 0.0


def test_what_there_is_no_time_for_is_told(ground, finalists):
    found, notes = forgetting_of(scorer_of(ground, None), finalists, allowance(left_s=0.5))
    assert found == {}
    assert [note.partition(": the time budget ended first")[0] for note in notes] == [
        "forgetting: not measured for trial 5",
        "forgetting: not measured for trial 0",
    ]


def test_weights_that_are_gone_cost_the_classifier_alone_and_that_is_told(ground, finalists, tmp_path):
    gone = ModelConfig(name="test_vit", weights=str(tmp_path / "gone.pth"))
    loaded = replace(ground.loaded.reset(), config=gone)
    without = Ground(ground.recipe, loaded, ground.data, None)
    found, (note,) = forgetting_of(scorer_of(without, None), finalists, allowance())
    assert "measured by features alone" in note
    assert found["5"]["agreement"] is None
    assert found["5"]["retention"] == found["5"]["cka"]
