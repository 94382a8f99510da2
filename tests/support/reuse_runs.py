"""Runs with and without a cache of activations, on noise images in memory, and what of them must be equal."""

import numpy as np
import torch

from autoft.cache import ActivationCache, Reuse
from autoft.data import DataHandle, Splits, Task
from autoft.model import named_tensors
from autoft.recipe import Recipe
from autoft.record import FieldSpec, InputSpec
from autoft.training import StagedTrainer

VAL, TEST = 5, 2
CLASSES = ("a", "b", "c", "d", "e")
KEPT = {"value", "train_loss", "val_loss", "metrics", "step", "stage", "diverged"}


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


def small(**sections):
    """A recipe and data for the hand-written network."""
    return recipe_of(**sections), data_of(16, train=15)
