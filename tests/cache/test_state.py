"""Modules that keep something from call to call, built by two threads: the bits of one, or a sentence why not."""

import numpy as np
import pytest
import torch
from torch import nn

from autoft.cache import ActivationCache, Need, Reuse
from autoft.data.inputs import as_inputs
from autoft.model import in_micro_batches, load_model, model_input, set_eval
from autoft.recipe import ModelConfig


class Keeping(nn.Module):
    """A convolution, and what it keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
        self.register_buffer("count", torch.zeros(()))
        self.calls, self.kept = 0, torch.zeros(())

    def forward(self, x):
        self.calls += 1
        return self.with_state(x)

    def with_state(self, x):
        self.count += 1
        return self.conv(x)


class BetweenItsLayers(Keeping):
    def with_state(self, x):
        self.kept = x.mean((1, 2, 3), keepdim=True)
        return self.conv(x) + self.kept


class ByTheCount(Keeping):
    def with_state(self, x):
        return self.conv(x) * (1 + self.calls / 100)


class ByTheBatchBefore(Keeping):
    def with_state(self, x):
        before, self.kept = self.kept, x.detach().mean()
        return self.conv(x) + before


def loaded_with(kind):
    torch.manual_seed(0)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), kind(), *head)
    example = {"input": torch.zeros(2, 3, 16, 16)}
    return load_model(ModelConfig(name="own"), num_outputs=3, module=net, example=example)


def built(folder, data, loaded):
    told = []
    cache = ActivationCache(Reuse(folder, 2**30, always=True), data, told.append, hands=2)
    top = len(loaded.chain) - 1
    return cache.prepare(loaded, [Need(top, 9.0)]).activations.get(top), told


@pytest.mark.parametrize("kind", [Keeping, BetweenItsLayers])
def test_what_makes_no_difference_to_a_row_has_the_same_bits_from_two_threads(tmp_path, noise, kind):
    data, loaded = noise(count=300), loaded_with(kind)
    found, told = built(tmp_path, data, loaded)
    assert told == []
    one = loaded.reset()
    set_eval(one)
    items = np.arange(len(data))
    inputs = as_inputs(data.read(items), data, one.card)
    with torch.no_grad():
        expected = in_micro_batches(lambda part: one.chain.run(model_input(part), 0, found.boundary), inputs)
    assert torch.equal(found.read(items), expected)


@pytest.mark.parametrize("kind", [ByTheCount, ByTheBatchBefore])
def test_rows_that_depend_on_earlier_calls_are_never_kept_and_that_is_told(tmp_path, noise, kind):
    loaded = loaded_with(kind)
    found, told = built(tmp_path, noise(), loaded)
    assert found is None
    assert loaded.chain.why_not or "not a function of the item alone" in told[0]
    assert list(tmp_path.glob("activations-*")) == []


class Lent(nn.Module):
    """Adds what a module further down has kept of its call, as a skip connection may be written."""

    def __init__(self, lender, batch):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self._lender, self._batch = [lender], batch

    def forward(self, x):
        kept = self._lender[0].kept
        return self.conv(x) + (kept.mean() if self._batch else kept)


@pytest.mark.parametrize("batch", [False, True], ids=["a row of it", "a statistic of the batch"])
def test_what_the_tail_reads_of_the_prefix_behind_its_back_is_never_kept_from_there(tmp_path, noise, batch):
    torch.manual_seed(0)
    lender = BetweenItsLayers()
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), lender, Lent(lender, batch), *head)
    example = {"input": torch.zeros(2, 3, 16, 16)}
    loaded = load_model(ModelConfig(name="own"), num_outputs=3, module=net, example=example)
    told = []
    cache = ActivationCache(Reuse(tmp_path, 2**30, always=True), noise(count=64), told.append)
    needs = [Need(boundary, 9.0) for boundary in range(1, len(loaded.chain))]
    found = cache.prepare(loaded, needs).activations
    lends, borrows = (next(at for at, one in enumerate(loaded.groups) if one.name == name) for name in ("1", "2"))
    assert lends + 1 == borrows
    assert lends in found
    assert borrows not in found
    assert (borrows + 1 in found) is not batch
    assert any("not a function of the item alone" in text for text in told)
