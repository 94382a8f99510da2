import pytest
import torch

from autoft.errors import ModelError
from autoft.model import OriginalHead, named_tensors
from autoft.training import ForgettingMeter, Scorer

ORIGINAL = OriginalHead(torch.randn(7, 8, generator=torch.Generator().manual_seed(3)), None)


def head_only(tiny, **settings):
    """A world, and the weights that training the head alone leads to."""
    world = tiny.world(**settings)
    trainer = world.trainer(tiny.recipe([{"name": "head", "epochs": 2}]))
    tiny.finish(trainer)
    return world, trainer.result().weights


def moved(tiny, **settings):
    """A world, and weights whose top backbone group has moved."""
    world = tiny.world(**settings)
    world.trainer(tiny.recipe([{"name": "head", "epochs": 2}]))
    generator = torch.Generator().manual_seed(4)
    start = named_tensors(world.loaded.base.module)
    names = world.loaded.groups[-2].parameters
    return world, {name: start[name] + 0.3 * torch.randn(start[name].shape, generator=generator) for name in names}


@pytest.mark.parametrize("head", [None, ORIGINAL], ids=["features alone", "original classifier"])
def test_a_frozen_backbone_forgets_nothing(tiny, head):
    world, weights = head_only(tiny)
    found = ForgettingMeter(Scorer(world.loaded, world.data), head=head).measure(weights)
    assert (found.retention, found.cka, found.drift, found.neighbours) == (1.0, 1.0, 0.0, 1.0)
    assert (found.agreement, found.kl) == ((1.0, 0.0) if head else (None, None))
    assert set(found.distance.values()) == {0.0}


def test_a_backbone_of_the_same_values_forgets_nothing_when_its_features_are_computed_again(tiny):
    world, weights = head_only(tiny)
    whole = {**named_tensors(world.loaded.base.module), **weights}
    found = ForgettingMeter(Scorer(world.loaded, world.data), head=ORIGINAL).measure(whole)
    assert (found.retention, found.kl, found.cka, found.drift, found.neighbours) == (1.0, 0.0, 1.0, 0.0, 1.0)


def test_a_backbone_that_has_moved_forgets_and_its_distance_says_where(tiny):
    world, weights = moved(tiny)
    found = ForgettingMeter(Scorer(world.loaded, world.data), head=ORIGINAL).measure(weights)
    assert 0.0 <= found.retention == found.agreement <= 1.0
    assert found.kl > 0.0
    assert 0.0 < found.cka < 1.0
    assert found.drift > 0.0
    *others, top = found.distance.values()
    assert others == [0.0] * (len(world.loaded.groups) - 2)
    assert top > 0.0
    assert found.items == len(world.data.splits.val)


def test_without_a_classifier_retention_is_the_alignment_of_features(tiny):
    world, weights = moved(tiny)
    found = ForgettingMeter(Scorer(world.loaded, world.data)).measure(weights)
    assert found.retention == found.cka < 1.0


def test_what_is_measured_does_not_depend_on_what_was_measured_before(tiny):
    world, weights = moved(tiny)
    meter = ForgettingMeter(Scorer(world.loaded, world.data), head=ORIGINAL)
    first = meter.measure(weights)
    meter.measure({})
    assert meter.measure(weights) == first


@pytest.mark.parametrize("kind", ["multi_label", "regression"])
def test_the_kind_of_task_does_not_matter(tiny, kind):
    data = tiny.images(kind)
    world, weights = moved(tiny, data=data, net=tiny.conv_net(outputs=data.task.num_outputs))
    assert 0.0 <= ForgettingMeter(Scorer(world.loaded, data)).measure(weights).retention < 1.0


@pytest.mark.parametrize("fields", [1, 2])
def test_networks_that_nobody_can_cut_and_those_of_several_inputs_are_measured_too(tiny, fields):
    net = tiny.opaque() if fields == 1 else tiny.two_inputs()
    world, weights = moved(tiny, data=tiny.vectors(fields=fields), net=net)
    found = ForgettingMeter(Scorer(world.loaded, world.data)).measure(weights)
    assert 0.0 <= found.retention < 1.0


def test_too_few_items_are_told(tiny):
    data = tiny.images(val=3)
    with pytest.raises(ModelError, match="at least 4 validation items, got 3"):
        ForgettingMeter(Scorer(tiny.world(data).trainer(tiny.recipe())._loaded, data))


def test_a_head_that_is_called_twice_is_told(tiny):
    class Twice(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body, self.head = torch.nn.Linear(4, 6), torch.nn.Linear(6, 3)

        def forward(self, x):
            hidden = self.body(x)
            return self.head(hidden) + self.head(hidden.relu())

    world, weights = head_only(tiny, data=tiny.vectors(), net=Twice())
    with pytest.raises(ModelError, match="not called once per pass"):
        ForgettingMeter(Scorer(world.loaded, world.data)).measure(weights)
