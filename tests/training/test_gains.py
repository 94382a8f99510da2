import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from autoft.model import named_tensors
from autoft.training import Ingredient, Judge, Scorer, evaluate, improve, load_weights
from autoft.training.gains import SHARES, Tried, between

KINDS = ("single_label", "multi_label", "regression")


def spoiled(weights, *, by=1.0, seed=0):
    """With noise on the head."""
    generator = torch.Generator().manual_seed(seed)
    noise = {name: by * torch.randn(weights[name].shape, generator=generator) for name in ("5.weight", "5.bias")}
    return {**weights, **{name: weights[name] + each for name, each in noise.items()}}


def given(weights, name="trial 7"):
    return Ingredient(name, lambda: weights)


@pytest.fixture(scope="module")
def _worlds():
    return {}


@pytest.fixture
def trained(tiny, _worlds):
    """A world of a kind of task, and weights that have learnt it."""

    def of(kind="single_label"):
        if kind not in _worlds:
            data = tiny.images(kind, train=60, val=45)
            world = tiny.world(data, tiny.conv_net(outputs=data.task.num_outputs))
            trainer = world.trainer(tiny.recipe([{"name": "tune", "unfreeze": "all", "epochs": 7, "lr": 1e-2}]))
            tiny.finish(trainer)
            _worlds[kind] = world, trainer.result().weights
        return _worlds[kind]

    return of


def judge_of(world, winner, *, data=None, metric=None):
    data = data or world.data
    return Judge(Scorer(world.loaded, data), data.task.objective(metric), winner=winner)


def test_a_line_begins_and_ends_where_it_should_bit_for_bit():
    base = {"a": torch.randn(5), "b": torch.randn(5), "count": torch.tensor(3)}
    start, end = {"a": torch.randn(5), "count": torch.tensor(7)}, {"a": torch.randn(5), "b": torch.randn(5)}
    first, last = (between(base, start, end, share) for share in (0.0, 1.0))
    assert torch.equal(first["a"], start["a"])
    assert torch.equal(first["b"], base["b"]), "what the start does not mention is the base's"
    assert torch.equal(last["a"], end["a"])
    assert torch.equal(last["b"], end["b"])
    assert first["count"] == last["count"] == 7
    torch.testing.assert_close(between(base, start, end, 0.25)["a"], 0.75 * start["a"] + 0.25 * end["a"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_winner_against_itself_gains_nothing(trained, kind):
    world, weights = trained(kind)
    judge = judge_of(world, weights)
    found = judge.compare("itself", dict(weights))
    assert (found.gain, found.standard_error, found.is_real) == (0.0, 0.0, False)
    load_weights(world.loaded, weights)
    metrics = evaluate(world.loaded, world.data, world.data.splits.val)
    assert found.value == judge.value == metrics[world.data.task.objective(None).metric]


@pytest.mark.parametrize("kind", KINDS)
def test_a_soup_that_is_better_by_more_than_its_error_is_kept(trained, kind):
    world, weights = trained(kind)
    poor = spoiled(weights)
    found = improve(judge_of(world, poor), start=None, others=[given(weights)], affords=lambda: True)
    (tried,) = found.tried
    assert found.kind == tried.kind == "soup of the winner and trial 7"
    assert tried.gain > tried.standard_error > 0.0
    base = named_tensors(world.loaded.base.module)
    load_weights(world.loaded, between(base, poor, weights, 0.5))
    metrics = evaluate(world.loaded, world.data, world.data.splits.val)
    load_weights(world.loaded, found.weights)
    assert evaluate(world.loaded, world.data, world.data.splits.val) == metrics
    assert tried.value == metrics[world.data.task.objective(None).metric]


def test_a_point_nearer_to_the_start_is_kept_where_the_training_went_too_far(trained):
    world, weights = trained()
    start = given(weights, "its head stage")
    found = improve(judge_of(world, spoiled(weights)), start=start, others=[], affords=lambda: True)
    assert [each.kind for each in found.tried] == [f"interpolation {share:g} from its head stage" for share in SHARES]
    best = max(found.tried, key=lambda each: each.gain)
    assert found.kind == best.kind
    assert [each.kept for each in found.tried].count(True) == 1


def test_without_a_real_gain_the_winners_own_weights_stay(trained):
    world, weights = trained()
    others = [given(spoiled(weights, by=20.0)), given(None, "trial 8"), given(weights, "trial 9")]
    found = improve(judge_of(world, weights), start=given(weights, "the head"), others=others, affords=lambda: True)
    assert found.weights is None
    assert found.plain()["kept"] is None
    assert not any(each.kept for each in found.tried)
    assert [each.kind for each in found.tried[len(SHARES) :]] == [
        "soup of the winner and trial 7",
        "soup of the winner and trial 9",
    ], "what made it worse has left, and what is gone is passed over"


def test_one_item_more_is_not_a_real_gain():
    error = math.sqrt(10 / 9 * (0.81 + 9 * 0.01)) / 10
    assert not Tried("x", 0.6, 0.1, error).is_real
    assert not Tried("x", 0.6, 0.1, math.nan).is_real
    assert Tried("x", 0.6, 0.1, 0.09).is_real


def test_nothing_is_tried_that_there_is_no_time_for(trained):
    world, weights = trained()
    left = iter([True, True, True, False])
    found = improve(
        judge_of(world, weights),
        start=given(weights, "the head"),
        others=[given(weights)],
        affords=lambda: next(left, False),
    )
    assert len(found.tried) == 2


def test_leaving_out_one_item_after_the_other_gives_the_standard_error_of_a_mean(tiny):
    data = tiny.images(val=15)
    world = tiny.world(data)
    world.trainer(tiny.recipe([{"name": "head", "epochs": 1}]))
    start = {name: each.detach() for name, each in world.loaded.module.named_parameters()}
    judge = judge_of(world, start)
    outputs = judge._run(spoiled(start, by=0.5))
    assert judge._jackknife(outputs, None) == pytest.approx(judge._error(outputs)) != 0.0


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1"])
def test_items_of_one_group_count_as_one(trained, metric):
    world, weights = trained()
    alone = replace(world.data, groups=np.full(len(world.data), "one patient"))
    found = judge_of(world, spoiled(weights), data=alone, metric=metric).compare("other", weights)
    assert math.isnan(found.standard_error)
    assert not found.is_real
    two = replace(world.data, groups=np.array([f"patient {number % 2}" for number in range(len(world.data))]))
    assert judge_of(world, spoiled(weights), data=two, metric=metric).compare("", weights).standard_error > 0
