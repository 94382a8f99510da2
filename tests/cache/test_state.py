"""Modules that keep something from call to call, built by two threads: the bits of one, or a sentence why not."""

from types import SimpleNamespace

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


class ByTheLargest(Keeping):
    """As dynamic quantisation does."""

    def forward(self, x):
        scale = x.abs().max() / 127
        return self.conv((x / scale).round() * scale)


@pytest.mark.parametrize("kind", [ByTheCount, ByTheBatchBefore, ByTheLargest])
def test_rows_that_depend_on_earlier_calls_or_on_companions_are_never_kept_and_that_is_told(tmp_path, noise, kind):
    loaded = loaded_with(kind)
    found, told = built(tmp_path, noise(), loaded)
    assert found is None
    assert loaded.chain.why_not or "not a function of the item alone" in told[0]
    assert list(tmp_path.glob("activations-*")) == []


class Trimmed(nn.Conv2d):
    """Leaves out a column where no image of the batch is bright."""

    def forward(self, x):
        rows = super().forward(x)
        return rows if x.amax() > 1.0 else rows[..., 1:]


def test_rows_of_different_shapes_are_not_kept_and_that_is_told(tmp_path, noise):
    data = noise(count=80)
    data.items.pixels[:64] //= 2
    torch.manual_seed(0)
    net = nn.Sequential(Trimmed(3, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    example = {"input": torch.zeros(2, 3, 16, 16)}
    loaded = load_model(ModelConfig(name="own"), num_outputs=3, module=net, example=example)
    told = []
    cache = ActivationCache(Reuse(tmp_path, 2**30, always=True), data, told.append)
    assert cache.prepare(loaded, [Need(1, 9.0)]).activations == {}
    assert "not all items give rows of one shape" in told[0]
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
    lends, borrows = (next(at for at, one in enumerate(loaded.groups) if one.name == name) for name in ("1", "2"))
    assert lends + 1 == borrows
    boundaries = [loaded.chain.prefix_length([group]) for group in (lends, borrows, borrows + 1)]
    assert boundaries == [lends, lends, borrows + 1]
    found = cache.prepare(loaded, [Need(boundary, 9.0) for boundary in boundaries]).activations
    assert found.keys() == ({lends} if batch else {lends, borrows + 1})
    assert any("not a function of the item alone" in text for text in told) is batch


class Noted(Keeping):
    """Keeps what it sees where nobody looks for tensors."""

    def __init__(self, notebook):
        super().__init__()
        self.notebook = notebook

    def with_state(self, x):
        self.notebook.kept = x.mean((1, 2, 3), keepdim=True)
        return self.conv(x)


def test_nor_what_it_reads_in_a_place_that_is_no_modules_own():
    torch.manual_seed(0)
    notebook = SimpleNamespace(kept=None)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    net = nn.Sequential(nn.Conv2d(3, 4, 3), Noted(notebook), Lent(notebook, batch=False), *head)
    example = {"input": torch.zeros(2, 3, 16, 16)}
    loaded = load_model(ModelConfig(name="own"), num_outputs=3, module=net, example=example)
    borrows = next(at for at, one in enumerate(loaded.groups) if one.name == "2")
    assert [loaded.chain.prefix_length([group]) for group in (borrows, borrows + 1)] == [borrows - 1, borrows + 1]
