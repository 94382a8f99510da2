"""Stages that solve for the head."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from autoft.cache import ActivationCache, Reuse
from autoft.data import Task
from autoft.errors import ConfigError
from autoft.model import named_tensors
from autoft.training import StageTree
from autoft.training.lengths import as_run, fixed_length
from autoft.training.linear import solve_linear
from autoft.training.solve import SolveStage

SOLVE = {"name": "head", "fit": "solve", "epochs": 1, "lr": None, "head_lr": None}
TUNE = {"name": "tune", "unfreeze": 2, "epochs": 2}
KINDS = ("single_label", "multi_label", "regression")


def net(*, outputs=3, bias=True):
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(32, outputs, bias=bias))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bias", [True, False])
def test_its_one_evaluation_is_better_than_that_of_many_steps_on_the_training_split(tiny, kind, bias):
    world = tiny.world(tiny.images(kind, train=40), net(outputs=1 if kind == "regression" else 3, bias=bias))
    trainer = world.trainer(tiny.recipe([{**SOLVE, "penalty": 1e-6}]))
    trainer.advance()
    (solved,) = trainer.curve
    steps = tiny.finish(world.trainer(tiny.recipe([{"name": "head", "epochs": 60}])))
    assert (solved.stage, solved.epoch) == ("head", 1.0)
    assert trainer.done
    assert solved.train_loss < steps[-1].train_loss


def test_the_solution_is_where_the_penalised_loss_is_flat():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 4)) * [1, 10, 0.1, 1] + 3, rng.integers(0, 3, 60)
    task, counted = Task("single_label", ("a", "b", "c")), np.array([1.0, 2.0, 3.0])
    weight, bias = solve_linear(task, x, y, penalty=0.3, class_weights=counted)
    standard = torch.from_numpy((x - x.mean(0)) / x.std(0))
    w = torch.from_numpy(weight * x.std(0)).requires_grad_()
    b = torch.from_numpy(bias + weight @ x.mean(0)).requires_grad_()
    each = nn.functional.cross_entropy(standard @ w.T + b, torch.from_numpy(y), reduction="none")
    ((each * torch.from_numpy(counted[y])).mean() + 0.15 * w.square().sum()).backward()
    assert w.grad.abs().max() < 1e-3
    assert b.grad.abs().max() < 1e-3


def test_a_class_that_no_item_has_is_never_predicted():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 4)), np.repeat([0, 2], 20)
    for seen in (y, np.full(40, 2)):
        weight, bias = solve_linear(Task("single_label", ("a", "b", "c")), x, seen, penalty=0.1)
        assert set((x @ weight.T + bias).argmax(1)) <= set(seen)


def test_it_trains_the_head_alone_and_others_begin_with_it(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([SOLVE, TUNE]))
    before = {name: tensor.clone() for name, tensor in named_tensors(world.loaded.module).items()}
    (solved,) = trainer.advance()
    changed = {name for name, now in trainer.changed.items() if not torch.equal(now, before[name])}
    assert changed == set(world.loaded.groups[-1].parameters)
    curve = tiny.finish(trainer)
    assert [each.stage for each in curve] == ["head", "tune", "tune"]
    fresh = world.trainer(tiny.recipe([SOLVE]))
    assert tiny.seen(tiny.finish(fresh)) == tiny.seen([solved])


def test_cached_equals_uncached_and_a_fork_equals_a_run(tiny, tmp_path):
    data = replace(tiny.images(), content="tiny")
    cache = ActivationCache(Reuse(tmp_path / "cache", 2**30, always=True), data, lambda _text: None)
    world, tree = tiny.world(data), StageTree(tmp_path / "stages")
    plain, cached, forked = (
        world.trainer(tiny.recipe([SOLVE, TUNE]), **settings)
        for settings in ({}, {"cache": cache, "tree": tree}, {"tree": tree})
    )
    curves = [tiny.seen(tiny.finish(each)) for each in (plain, cached, forked)]
    assert curves[0] == curves[1] == curves[2]
    assert forked.curve[0].reused == "stage:head"
    assert cached.curve[0].saved_s > 0
    for name, tensor in plain.result().weights.items():
        assert torch.equal(tensor, cached.result().weights[name])


def test_settings_of_steps_change_no_solution(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    tiny.finish(world.trainer(tiny.recipe([SOLVE, TUNE]), tree=tree))
    other = tiny.recipe([SOLVE, {**TUNE, "unfreeze": 1}], model={"drop_rate": 0.5})
    assert tiny.finish(world.trainer(other, tree=tree))[0].reused == "stage:head"
    penalised = tiny.recipe([{**SOLVE, "penalty": 9.0}, TUNE])
    assert tiny.finish(world.trainer(penalised, tree=tree))[0].reused != "stage:head"


@pytest.mark.parametrize("advances", [0, 1, 2])
def test_it_resumes_before_and_after(tiny, tmp_path, advances):
    world, recipe = tiny.world(), tiny.recipe([SOLVE, TUNE])
    whole = tiny.seen(tiny.finish(world.trainer(recipe)))
    first = world.trainer(recipe)
    for _ in range(advances):
        first.advance()
    if not advances:
        first._should_stop = lambda: True
        assert first.advance() == ()
        assert isinstance(first._engine, SolveStage)
    first.save(tmp_path)
    second = world.trainer(recipe)
    assert second.restore(tmp_path)
    assert tiny.seen(tiny.finish(second)) == whole


def test_balanced_items_count_the_same_however_they_are_asked_for(tiny):
    data = tiny.images(train=20)
    world = tiny.world(replace(data, targets=np.where(np.arange(len(data.targets)) % 7 == 0, 1, 0)))
    curves = [
        tiny.seen(tiny.finish(world.trainer(tiny.recipe([SOLVE], data=settings))))
        for settings in ({}, {"class_weights": "balanced"}, {"sampler": "balanced"})
    ]
    assert curves[1] == curves[2] != curves[0]


def test_what_to_run_again_keeps_it_as_it_is(tiny):
    world, recipe = tiny.world(), tiny.recipe([SOLVE, TUNE])
    trainer = world.trainer(recipe)
    curve, objective = tiny.finish(trainer), trainer._objective
    assert as_run(recipe, curve, objective).stages[0] == recipe.stages[0]
    assert fixed_length(recipe, curve, objective).stages[0] == recipe.stages[0]


@pytest.mark.parametrize(("place", "told"), [(5, "the training loss is nan"), (20, "the validation loss is nan")])
def test_features_that_are_no_numbers_are_a_divergence(tiny, place, told):
    data = tiny.vectors(train=20, val=15)
    data.items.read(slice(None))["input"][place] = np.nan
    trainer = tiny.world(data, nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))).trainer(
        tiny.recipe([SOLVE, {**TUNE, "unfreeze": 1}])
    )
    (last,) = tiny.finish(trainer)
    assert last.diverged == told
    assert trainer.done


def test_a_head_that_is_not_linear_is_refused_by_name(tiny):
    with pytest.raises(ConfigError, match=r"stages.head.fit: solve needs a head that is one linear layer"):
        tiny.world(tiny.vectors(), tiny.opaque()).trainer(tiny.recipe([SOLVE]))
