"""A tiny world to train in: random images that can be learnt, and networks that train in milliseconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autoft.data import DataHandle, Splits, Task
from autoft.model import LoadedModel, load_model
from autoft.recipe import Recipe
from autoft.record import Curve, FieldSpec, InputSpec
from autoft.training import StagedTrainer

SIDE = 8
CLASSES = ("a", "b", "c")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Rows:
    """Items held in memory."""

    def __init__(self, fields: Mapping[str, np.ndarray]) -> None:
        self._fields = fields

    def read(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {name: rows[indices] for name, rows in self._fields.items()}


def handle(
    fields: Mapping[str, np.ndarray], targets: np.ndarray, task: Task, *, image: bool, train: int, val: int
) -> DataHandle:
    """Data whose first ``train`` items are for training, the next ``val`` for validation, the rest for test."""
    count = len(targets)
    names = tuple(f"{number:03d}" for number in range(count))
    parts = np.split(np.arange(count), [train, train + val])
    return DataHandle(
        name="tiny",
        fingerprint="0" * 16,
        task=task,
        spec=InputSpec({name: FieldSpec(rows.shape[1:], str(rows.dtype)) for name, rows in fields.items()}, image),
        targets=targets,
        splits=Splits(*parts, names=names, fingerprint="0" * 16),
        groups=None,
        notes=(),
        items=Rows(fields),
    )


def images(kind: str = "single_label", *, train: int = 20, val: int = 15, test: int = 7) -> DataHandle:
    """Noise images (8, 8, 3), brighter in the part that belongs to their class."""
    rng = np.random.default_rng(5)
    count = train + val + test
    labels = np.arange(count) % len(CLASSES)
    pixels = rng.integers(0, 160, size=(count, SIDE, SIDE, 3))
    for row, label in zip(pixels, labels, strict=True):
        row[:, 2 * label : 2 * label + 3] += 80
    targets, task = _targets(kind, labels)
    return handle({"input": pixels.astype(np.uint8)}, targets, task, image=True, train=train, val=val)


def _targets(kind: str, labels: np.ndarray) -> tuple[np.ndarray, Task]:
    match kind:
        case "single_label":
            return labels.astype(np.int64), Task("single_label", CLASSES)
        case "multi_label":
            both = np.eye(len(CLASSES))[labels] + np.eye(len(CLASSES))[(labels // 2) % len(CLASSES)]
            return np.minimum(both, 1.0).astype(np.float32), Task("multi_label", CLASSES)
        case _:
            return (labels * 40.0 + 100.0).astype(np.float32), Task("regression", target_mean=140.0, target_std=32.0)


def vectors(*, fields: int = 1, train: int = 20, val: int = 15) -> DataHandle:
    """Vectors of four numbers, in one field or in several."""
    rng = np.random.default_rng(6)
    labels = np.arange(train + val) % len(CLASSES)
    rows = rng.normal(size=(len(labels), 4)).astype(np.float32)
    rows[np.arange(len(labels)), labels] += 2.0
    names = ("input",) if fields == 1 else ("left", "right")
    content = {name: rows if place == 0 else rows[:, ::-1].copy() for place, name in enumerate(names)}
    return handle(content, labels.astype(np.int64), Task("single_label", CLASSES), image=False, train=train, val=val)


class Block(nn.Module):
    """A convolution, a BatchNorm, dropout."""

    def __init__(self, channels_in: int, channels_out: int, drop: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(channels_out)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(self.conv(x)).relu())


def conv_net(*, outputs: int = 3, drop: float = 0.1) -> nn.Module:
    """Three blocks and a head, a chain that can be cut; the last block's maps are one pixel."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return nn.Sequential(
            Block(3, 6, drop),
            Block(6, 8, drop),
            Block(8, 8, drop),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, outputs),
        )


class Opaque(nn.Module):
    """A network whose forward pass nobody can cut."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(8)
            self.first, self.second, self.head = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x)
        if bool(hidden.sum() > 0):
            hidden = hidden * 1.5
        return self.head(self.second(hidden.relu()).relu() + hidden)


class TwoInputs(nn.Module):
    """A network that takes two named tensors."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(9)
            self.body, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return self.head(self.body(torch.cat([left, right], dim=1)).relu())


@dataclass
class World:
    """Data and a network, and trainers on them."""

    data: DataHandle
    net: nn.Module
    base: LoadedModel | None = None
    loaded: LoadedModel = field(init=False)
    """Of the newest trainer."""

    def trainer(self, recipe: Recipe, **settings: Any) -> StagedTrainer:
        """A trainer on a fresh model."""
        if self.base is None:
            config = recipe.model.model_copy(update={"drop_rate": 0.0, "drop_path_rate": 0.0})
            outputs = self.data.task.num_outputs
            self.base = load_model(config, num_outputs=outputs, module=self.net, example=self._example(), seed=0)
        self.loaded = self.base.reset(drop_rate=recipe.model.drop_rate, seed=recipe.seed)
        objective = self.data.task.objective(settings.pop("metric", None))
        return StagedTrainer(recipe, self.loaded, self.data, objective, **settings)

    def _example(self) -> dict[str, Tensor]:
        fields = self.data.read(np.arange(2))
        return {name: torch.zeros(2, 3, SIDE, SIDE) for name in fields} if self.data.spec.image else fields


def make_recipe(stages: list[dict[str, Any]] | None = None, **sections: Any) -> Recipe:
    """A recipe for a tiny network; sections as in YAML."""
    given = stages or [{"name": "head", "epochs": 2}, {"name": "tune", "unfreeze": 2, "epochs": 2}]
    rates = {"lr": 3e-3, "head_lr": 1e-2}
    data = {"batch_size": 8, **sections.pop("data", {})}
    model = {"name": "tiny", **sections.pop("model", {})}
    raw = {"model": model, "data": data, "stages": [{**rates, **stage} for stage in given], **sections}
    return Recipe.parse(raw, where="test")


def finish(trainer: StagedTrainer) -> Curve:
    """Train to the end."""
    while trainer.advance():
        pass
    return trainer.curve


def seen(curve: Curve) -> list[tuple[Any, ...]]:
    """All of a curve that must repeat bit for bit: everything but the time it took."""
    return [
        (e.index, e.stage, e.epoch, e.step, e.value, e.train_loss, e.val_loss, sorted(e.metrics.items()), e.diverged)
        for e in curve
    ]


class Tiny:
    """All of the tiny world, for tests to take as the fixture ``tiny``."""

    images = staticmethod(images)
    vectors = staticmethod(vectors)
    conv_net = staticmethod(conv_net)
    opaque = Opaque
    two_inputs = TwoInputs
    recipe = staticmethod(make_recipe)
    finish = staticmethod(finish)
    seen = staticmethod(seen)

    @staticmethod
    def world(data: DataHandle | None = None, net: nn.Module | None = None) -> World:
        return World(data or images(), net or conv_net())


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny
