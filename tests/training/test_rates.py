"""The learning rate range test: what it finds, and what it leaves alone."""

import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.model import Manner, named_tensors
from autoft.recipe import Recipe
from autoft.streams import stream
from autoft.training import Forward
from autoft.training.rates import RangeTest
from autoft.tuner.prepare import lay_ground


def ground_for(lr):
    stages = [
        {"name": "head", "unfreeze": 0, "epochs": 1, "head_lr": 1e-2},
        {"name": "tune", "unfreeze": "all", "epochs": 1, "lr": lr, "head_lr": 1e-3},
    ]
    recipe = Recipe.parse({"model": "own", "stages": stages}, where="test")
    torch.manual_seed(0)
    return lay_ground(recipe, tiny_data(), module=TinyNet(), notify=lambda _text: None)


def limit_of(ground, boundary=1, model=None, **more):
    data, train = ground.data, ground.data.splits.train
    constant = data.task.constant_loss(data.targets[train], data.targets[train])
    rows = Forward(ground.loaded, boundary).prefix({"input": torch.from_numpy(data.read(train)["input"].numpy())})
    chosen = stream(0, "rates").choice(len(train), 32, replace=False)
    test = RangeTest(ground.recipe, data.task, constant, Manner(), **more)
    return test.limit(
        model or ground.loaded.reset(), boundary, rows[chosen], torch.from_numpy(data.targets[train][chosen])
    )


def test_a_rate_that_breaks_the_training_is_found_the_same_each_time():
    ground = ground_for(20.0)
    found = limit_of(ground)
    assert found is not None
    assert 20.0 / 30 <= found < 600.0
    assert limit_of(ground) == found


def test_where_no_rate_breaks_it_there_is_no_limit():
    assert limit_of(ground_for(1e-5)) is None


def test_the_limit_is_a_rate_and_hardly_depends_on_where_the_test_began():
    low, high = limit_of(ground_for(15.0)), limit_of(ground_for(25.0))
    assert 0.2 < low / high < 5.0


@pytest.mark.parametrize("boundary", [1, 2])
def test_what_lies_below_the_boundary_stays_as_it_is_and_so_does_the_searched_model(boundary):
    ground = ground_for(20.0)
    before = {name: tensor.clone() for name, tensor in named_tensors(ground.loaded.module).items()}
    model = ground.loaded.reset()
    limit_of(ground, boundary, model)
    assert all(torch.equal(before[name], tensor) for name, tensor in named_tensors(ground.loaded.module).items())
    frozen = {name for group in model.groups[:boundary] for name in group.parameters}
    after = named_tensors(model.module)
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert any(not torch.equal(before[name], after[name]) for name in after.keys() - frozen)


def test_a_test_that_is_stopped_has_found_nothing():
    assert limit_of(ground_for(20.0), should_stop=lambda: True) is None


def test_where_the_loss_is_no_number_to_begin_with_nothing_is_found():
    ground = ground_for(20.0)
    broken = ground.loaded.reset()
    broken.module.get_parameter(broken.groups[-1].parameters[0]).data.fill_(float("nan"))
    assert limit_of(ground, model=broken) is None
