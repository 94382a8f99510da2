"""Training and evaluation from cached activations: the same bits as from pixels."""

import numpy as np
import pytest
import torch
from freezing_models import NAMES, SIZES, base

from autoft.cache import ActivationCache, Reuse
from autoft.data import DataHandle, Splits, Task
from autoft.model import named_tensors
from autoft.recipe import Recipe
from autoft.record import FieldSpec, InputSpec
from autoft.training import StagedTrainer

VAL, TEST = 5, 2
CLASSES = ("a", "b", "c", "d", "e")
KEPT = {"value", "train_loss", "val_loss", "metrics", "step", "stage", "diverged"}

WAYS = [
    pytest.param(1, 3, "none", id="batches of 1"),
    pytest.param(7, 15, "flip", id="batches of 7 and a last one of 1, flips"),
    pytest.param(32, 33, "none", id="a batch of 32 and a last one of 1"),
]


class Items:
    """Images in memory; counts how often each is read."""

    def __init__(self, pixels):
        self.pixels = pixels
        self.reads = 0

    def read(self, indices):
        self.reads += len(indices)
        return {"input": self.pixels[indices]}


def data_of(side, *, train, seed=0):
    count = train + VAL + TEST
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, size=(count, side, side, 3), dtype=np.uint8)
    names = tuple(f"{number:03d}" for number in range(count))
    order = rng.permutation(count)
    parts = np.split(order, [train, train + VAL])
    return DataHandle(
        name="noise",
        fingerprint="0" * 16,
        task=Task("single_label", CLASSES),
        spec=InputSpec({"input": FieldSpec((side, side, 3), "uint8")}, image=True),
        targets=np.arange(count) % len(CLASSES),
        splits=Splits(*parts, names=names, fingerprint="0" * 16),
        groups=None,
        notes=(),
        items=Items(pixels),
        content=f"noise-{side}-{count}-{seed}",
    )


def recipe_of(*, batch_size=7, augment="none", **sections):
    stages = [
        {"name": "head", "epochs": 1, "head_lr": 1e-2, "lr": 1e-3},
        {"name": "tune", "epochs": 2, "unfreeze": 0.4, "head_lr": 1e-2, "lr": 1e-3},
    ]
    raw = {"model": "m", "data": {"batch_size": batch_size, "augment": augment}, "stages": stages, **sections}
    return Recipe.parse(raw, where="test")


def keeping(path, data, **settings):
    told = []
    cache = ActivationCache(Reuse(path, settings.pop("max_bytes", 2**30), always=True, **settings), data, told.append)
    return cache, told


def run(recipe, loaded, data, cache=None):
    trainer = StagedTrainer(recipe, loaded, data, data.task.objective(None), cache=cache)
    while trainer.advance():
        pass
    trainer.load_best()
    return trainer


def seen(trainer):
    return [{name: value for name, value in e.plain().items() if name in KEPT} for e in trainer.curve]


def weights(loaded):
    return {name: tensor.clone() for name, tensor in named_tensors(loaded.module).items()}


def assert_equal_bits(first, second):
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(("batch_size", "train", "augment"), WAYS)
@pytest.mark.parametrize("name", NAMES)
def test_training_and_evaluation_are_bitwise_equal_with_and_without_cache(tmp_path, name, batch_size, train, augment):
    data = data_of(SIZES.get(name, 16), train=train)
    recipe = recipe_of(batch_size=batch_size, augment=augment)
    loaded = base(name).reset(drop_rate=0.2)
    plain = run(recipe, loaded, data)
    expected = weights(loaded)
    cache, told = keeping(tmp_path, data)
    again = base(name).reset(drop_rate=0.2)
    cached = run(recipe, again, data, cache)
    assert told == []
    assert all(evaluation.reused for evaluation in cached.curve)
    assert all(evaluation.saved_s > 0 for evaluation in cached.curve)
    assert seen(cached) == seen(plain)
    assert_equal_bits(weights(again), expected)
