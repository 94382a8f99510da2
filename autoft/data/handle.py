"""The handle on opened data: small, picklable, and good for reading in any process of the machine."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from autoft.data.items import Items
from autoft.data.other_metrics import GivenMetric
from autoft.data.splits import Splits
from autoft.data.task import Task
from autoft.record import InputSpec
from autoft.shards import ShardStore


@dataclass(frozen=True, eq=False)
class DataHandle:
    """Data that are listed, checked, split and decoded. Pickles as paths and small arrays."""

    name: str
    fingerprint: str
    """Sixteen hexadecimal digits: of task kind, item names, contents, targets, given splits and groups."""
    task: Task
    spec: InputSpec
    targets: NDArray[Any]
    """Of all items, as `Task` says."""
    splits: Splits
    groups: NDArray[np.str_] | None
    notes: tuple[str, ...]
    """Sentences a person should read: what was left out, imbalance, no test split."""
    items: Items
    content: str = ""
    """Names the decoded content of the items, in their order: not their labels, not the splits. Empty if unknown."""

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def names(self) -> tuple[str, ...]:
        """Of all items."""
        return self.splits.names

    def read(self, indices: NDArray[np.integer[Any]]) -> dict[str, Tensor]:
        """The raw inputs of items: images uint8 (B, H, W, 3) under "input", else tensors as in `spec`."""
        return {name: torch.from_numpy(array) for name, array in self.items.read(np.asarray(indices)).items()}

    def kept_in(self, store: ShardStore) -> Self | None:
        """The same data, read from another store; None where it does not keep their items."""
        items = self.items.kept_in(store)
        return None if items is None else replace(self, items=items)

    def judged_by(self, metrics: Iterable[GivenMetric]) -> Self:
        """The same data, models of which are measured by these metrics too.

        Raises:
            UnknownNameError: no such metric, or one of another kind of task.
            ConfigError: a function without a name of its own, or one that cannot be computed of the validation split.
        """
        task, val = self.task.judged_by(metrics), self.targets[self.splits.val]
        if task.others:
            constant = task.constant_outputs(self.targets[self.splits.train], task.objective().metric)
            predicted = task.predict(constant.expand(len(val), -1)).numpy()
            for metric in task.others:
                metric.check(task.kind, predicted, val)
        return replace(self, task=task)

    def targets_of(self, indices: NDArray[np.integer[Any]]) -> Tensor:
        """The targets of items."""
        return torch.from_numpy(self.targets[indices])

    def summary(self) -> Mapping[str, Any]:
        """What data these are, as plain data."""
        sizes = {split: len(getattr(self.splits, split)) for split in ("train", "val", "test")}
        return {
            "name": self.name,
            "fingerprint": self.fingerprint,
            "task": self.task.kind,
            "classes": len(self.task.classes),
            "items": len(self),
            **sizes,
        }
