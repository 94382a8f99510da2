import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoft.model import set_eval
from autoft.training import MICRO_BATCH, Forward
from autoft.training.forward import seeded


@pytest.fixture(scope="module")
def images():
    return torch.randn(3 * MICRO_BATCH, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def loaded(tiny):
    world = tiny.world()
    world.trainer(tiny.recipe())
    set_eval(world.loaded)
    return world.loaded


@pytest.mark.parametrize("boundary", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 31, 32, 33, 70])
def test_outputs_do_not_depend_on_the_boundary(loaded, images, boundary, size):
    inputs = {"input": images[:size]}
    forward = Forward(loaded, boundary)
    found = forward.outputs(forward.prefix(inputs))
    assert found.shape == (size, 3)
    assert torch.equal(found, Forward(loaded, 0).outputs(inputs))


@pytest.mark.parametrize("boundary", [1, 3])
def test_a_row_of_the_prefix_is_a_function_of_its_sample_alone(loaded, images, boundary):
    forward = Forward(loaded, boundary)
    whole = forward.prefix({"input": images})
    rng = torch.Generator().manual_seed(1)
    for size in (1, 2, 17, 40):
        chosen = torch.randperm(len(images), generator=rng)[:size]
        assert torch.equal(forward.prefix({"input": images[chosen]}), whole[chosen])


def test_the_prefix_always_runs_in_batches_of_one_shape_and_without_gradients(loaded, images):
    sizes = []
    loaded.module[0].register_forward_hook(
        lambda _module, _inputs, output: sizes.append((len(output), output.requires_grad))
    )
    for size in (1, 32, 50):
        Forward(loaded, 2).prefix({"input": images[:size]})
    assert sizes == [(MICRO_BATCH, False)] * 4


def test_without_a_prefix_the_inputs_reach_the_tail_as_they_are(loaded, images):
    inputs = {"input": images[:5]}
    assert Forward(loaded, 0).prefix(inputs) is inputs
    assert torch.equal(Forward(loaded, 0).tail(inputs), loaded.module(images[:5]))


@settings(max_examples=20)
@given(seed=st.integers(0, 2**63 - 1))
def test_seeded_draws_repeat_and_leave_the_global_generator_alone(seed):
    before = torch.get_rng_state()
    with seeded(seed, torch.device("cpu")):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(1)
    with seeded(seed, torch.device("cpu")):
        assert torch.equal(torch.rand(3), first)


class DropsInside(nn.Module):
    """Dropout by a function that follows the root's mode, between two layers of the backbone."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.second(nn.functional.dropout(self.first(x), 0.5, training=self.training)))


def test_a_dropout_that_follows_the_root_is_off_in_the_prefix_and_on_in_the_tail(tiny):
    world = tiny.world(tiny.vectors(), DropsInside())
    world.trainer(tiny.recipe())
    inputs = world.data.read(world.data.splits.val)
    world.loaded.module.training = True
    forward = Forward(world.loaded, 2)
    assert torch.equal(forward.prefix(inputs), forward.prefix(inputs))
    assert world.loaded.module.training
    whole = Forward(world.loaded, 0)
    assert not torch.equal(whole.tail(inputs), whole.tail(inputs))


class Contained(nn.Module):
    """The same dropout follows a part that spans several groups; the segments are the module's own."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"first": nn.Linear(4, 6), "second": nn.Linear(6, 6)})
        self.head = nn.Linear(6, 3)

    def start(self, x):
        return nn.functional.dropout(self.body["first"](x), 0.5, training=self.body.training)

    def segments(self):
        return [self.start, self.body["second"], self.head]

    def forward(self, x):
        return self.head(self.body["second"](self.start(x)))


def test_a_dropout_that_follows_a_part_around_both_is_off_in_the_prefix_and_on_in_the_tail(tiny):
    world = tiny.world(tiny.vectors(), Contained())
    world.trainer(tiny.recipe())
    assert world.loaded.chain.kind == "segments()"
    inputs = world.data.read(world.data.splits.val)
    world.loaded.module.body.training = True
    forward = Forward(world.loaded, 1)
    assert torch.equal(forward.prefix(inputs), forward.prefix(inputs))
    assert world.loaded.module.body.training
    whole = Forward(world.loaded, 0)
    assert not torch.equal(whole.tail(inputs), whole.tail(inputs))
