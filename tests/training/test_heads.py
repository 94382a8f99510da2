"""Head stages in the fused trainer, with companions or without."""

import pytest
import torch
from freezing_models import NAMES, base
from torch import nn

from autoft.cache import ActivationCache, Reuse
from autoft.model import linear_head, named_tensors
from autoft.record import best_evaluation
from autoft.training import StageTree
from autoft.training.heads import HeadStage
from autoft.training.tail import TailStage

HEAD = {"name": "head", "epochs": 3, "head_lr": 1e-2}
OTHERS = [
    {**HEAD, "head_lr": 3e-3},
    {**HEAD, "epochs": 5, "weight_decay": 0.1, "drop_rate": 0.3},
    {**HEAD, "patience": 1, "schedule": "cosine"},
    {**HEAD, "schedule": "wsd"},
    {**HEAD, "head_lr": 1e9},
]


@pytest.mark.parametrize("name", NAMES)
def test_the_usual_heads_are_linear_layers(name):
    loaded = base(name).reset()
    head = linear_head(loaded)
    assert head is not None
    assert set(head.names) == set(loaded.groups[-1].parameters)
    assert (head.own_drop_rate == 0.5) == (name == "hand-written")


class Flattening(nn.Sequential):
    """Its own last segment flattens what comes in."""

    def segments(self):
        return [self[0], lambda x: self[2](self[1](x))]


class Dropping(nn.Module):
    """Dropout by a function that follows the root's mode."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(nn.functional.dropout(self.body(x), 0.5, training=self.training))


class Doubling(nn.Module):
    """What the head gives is not what comes out."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, x):
        return 2 * self.head(self.body(x))


@pytest.mark.parametrize("net", [Dropping(), Doubling()], ids=["dropout in forward", "not the last word"])
def test_other_heads_are_trained_as_any_tail(tiny, net):
    world = tiny.world(tiny.vectors(), net)
    trainer = world.trainer(tiny.recipe([HEAD]))
    assert linear_head(world.loaded) is None
    trainer.advance()
    assert isinstance(trainer._engine, TailStage)
    tiny.finish(trainer)


def test_a_head_that_gets_maps_is_trained_as_any_tail(tiny):
    net = Flattening(nn.Conv2d(3, 4, 8), nn.Flatten(), nn.Linear(4, 3))
    world = tiny.world(net=net)
    tiny.finish(world.trainer(tiny.recipe([HEAD])))
    assert linear_head(world.loaded) is None


def test_a_stage_of_another_drop_rate_runs_where_the_head_is_not_linear_too(tiny):
    world = tiny.world(tiny.vectors(), Doubling())
    stages = [{**HEAD, "drop_rate": 0.5}, {"name": "tune", "unfreeze": "all", "epochs": 2}]
    dropped = tiny.finish(world.trainer(tiny.recipe(stages)))
    plain = tiny.finish(world.trainer(tiny.recipe([{**HEAD, "drop_rate": 0.0}, stages[1]])))
    assert dropped[0].train_loss != plain[0].train_loss
    own = tiny.finish(world.trainer(tiny.recipe([HEAD, stages[1]], model={"drop_rate": 0.5})))
    assert tiny.seen(own)[:3] == tiny.seen(dropped)[:3]
    assert tiny.seen(own)[3:] != tiny.seen(dropped)[3:]


def test_the_head_alone_is_trained(tiny):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([HEAD]))
    before = {name: tensor.clone() for name, tensor in named_tensors(world.loaded.module).items()}
    trainer.advance()
    assert isinstance(trainer._engine, HeadStage)
    tiny.finish(trainer)
    trainer.load_best()
    changed = {name for name, now in named_tensors(world.loaded.module).items() if not torch.equal(now, before[name])}
    assert changed == set(world.loaded.groups[-1].parameters)


def cached(data, path):
    data = type(data)(**{**{name: getattr(data, name) for name in data.__dataclass_fields__}, "content": "tiny"})
    return data, ActivationCache(Reuse(path, 2**30, always=True), data, lambda _text: None)


def test_companions_are_trained_beside_and_change_nothing(tiny, tmp_path):
    data, cache = cached(tiny.images(), tmp_path / "cache")
    world = tiny.world(data)
    alone = {number: tiny.finish(world.trainer(tiny.recipe([stage]))) for number, stage in enumerate([HEAD, *OTHERS])}
    recipes = [tiny.recipe([stage]) for stage in OTHERS]
    tree = StageTree(tmp_path / "stages", companions=recipes)
    first = tiny.finish(world.trainer(tiny.recipe([HEAD]), cache=cache, tree=tree))
    assert tiny.seen(first) == tiny.seen(alone[0])
    assert not any(e.reused.startswith("stage:") for e in first)
    for number, recipe in enumerate(recipes, 1):
        trainer = world.trainer(recipe, cache=cache, tree=tree)
        forked = tiny.finish(trainer)
        assert str(tiny.seen(forked)) == str(tiny.seen(alone[number]))
        assert {e.reused for e in forked} == {"stage:head"}
        assert all(e.compute_s == 0 for e in forked)
        again = world.trainer(recipe)
        tiny.finish(again)
        weights, expected = trainer.result().weights, again.result().weights
        assert weights.keys() == expected.keys()
        assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_companions_that_see_other_batches_are_left_out(tiny, tmp_path):
    data, cache = cached(tiny.images(), tmp_path / "cache")
    world = tiny.world(data)
    other = tiny.recipe([HEAD], data={"batch_size": 5})
    tree = StageTree(tmp_path / "stages", companions=[other])
    tiny.finish(world.trainer(tiny.recipe([HEAD]), cache=cache, tree=tree))
    assert {e.reused for e in tiny.finish(world.trainer(other, cache=cache, tree=tree))} == {"2"}


def test_a_head_stage_resumes_in_its_middle_without_its_companions(tiny, tmp_path):
    data, cache = cached(tiny.images(), tmp_path / "cache")
    world, recipe = tiny.world(data), tiny.recipe([{**HEAD, "drop_rate": 0.2}], optimisation={"ema_decay": 0.9})
    expected = tiny.seen(tiny.finish(world.trainer(recipe)))
    companions = [tiny.recipe([stage], optimisation={"ema_decay": 0.9}) for stage in OTHERS]
    trainer = world.trainer(recipe, cache=cache, tree=StageTree(tmp_path / "stages", companions=companions))
    trainer.advance()
    trainer.save(tmp_path / "checkpoint")
    trainer.close()
    resumed = world.trainer(recipe, cache=cache, tree=StageTree(tmp_path / "stages", companions=companions))
    assert resumed.restore(tmp_path / "checkpoint")
    assert tiny.seen(tiny.finish(resumed)) == expected


def test_a_second_stage_of_the_head_goes_on_with_the_state_of_the_first(tiny):
    world = tiny.world()
    twice = [HEAD, {**HEAD, "name": "more", "head_lr": 1e-3, "epochs": 1}]
    trainer = world.trainer(tiny.recipe(twice))
    curve = tiny.finish(trainer)
    steps = trainer._carried["5.weight//step"]
    best_of_first = best_evaluation(curve[:3], world.data.task.objective()).step
    assert float(steps) in {best_of_first + e.step for e in curve[3:]}
