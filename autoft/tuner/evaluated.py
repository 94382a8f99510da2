"""What a fine-tuned model comes to on labelled items."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from torch import Tensor

from autoft.data import Task
from autoft.data.labelled import Labelled
from autoft.data.outcomes import item_scores
from autoft.statistics import wilson_interval


@dataclass(frozen=True)
class Evaluated:
    """Metrics of a model on a data set, and its answers item by item."""

    metrics: Mapping[str, float]
    """All that fit the task, by name."""
    interval: tuple[float, float] | None
    """Of ``accuracy``, 95% (Wilson 1927); None for a regression, and where items come in groups."""
    by_class: pd.DataFrame | None
    """Per class that occurs or is predicted: ``class``, ``items``, ``recall``, ``precision``; with one label per item
    also ``taken_for``, the class that most of its wrong items are taken for. None for a regression."""
    table: pd.DataFrame
    """The rows of `Predictor.predict`, with the true ``label``."""
    outputs: Tensor
    """(items, num_outputs), raw, of those that could be read."""
    targets: NDArray[Any]
    """(items,) or (items, labels), of the same."""
    groups: NDArray[np.str_] | None = None
    """(items,), names of what belongs together, of the same; None where each stands for itself."""
    lost: tuple[str, ...] = ()
    """Items that cannot be read: they are not in the metrics."""
    notes: tuple[str, ...] = ()
    """What should be known of the data."""

    @property
    def items(self) -> int:
        """How many items are in the metrics."""
        return len(self.table) - int(self.table["prediction"].isna().sum())

    def scores(self, task: Task, metric: str) -> NDArray[np.float64]:
        """What it came to on each item, (items,), higher is better (`autoft.data.outcomes.item_scores`).

        Args:
            task: the model's.
            metric: what decides.
        """
        return item_scores(task, metric, self.outputs, self.targets)


def evaluated(
    task: Task, found: Labelled, readable: NDArray[np.bool_], outputs: Tensor, table: pd.DataFrame
) -> Evaluated:
    """Compare outputs with labels.

    Args:
        task: the model's.
        found: the items.
        readable: (items,), which could be read.
        outputs: (readable items, num_outputs), raw.
        table: what the model predicts of each item.
    """
    truth = found.targets[readable]
    metrics = task.metrics(outputs, truth)
    interval = None
    if "accuracy" in metrics and found.groups is None and outputs.isfinite().all():
        wilson = wilson_interval(round(metrics["accuracy"] * len(truth)), len(truth))
        interval = (wilson.low, wilson.high)
    table = table.copy()
    table.insert(1, "label", _labels(task, found.targets))
    lost = (*found.lost, *(found.names[place] for place in np.flatnonzero(~readable)))
    by_class = None if task.kind == "regression" else _by_class(task, task.predict(outputs).numpy(), truth)
    groups = None if found.groups is None else found.groups[readable]
    return Evaluated(metrics, interval, by_class, table, outputs, truth, groups, lost, found.notes)


def _labels(task: Task, targets: NDArray[Any]) -> list[Any]:
    """Labels as a person reads them."""
    match task.kind:
        case "single_label":
            return [task.classes[number] for number in targets]
        case "multi_label":
            return [";".join(np.array(task.classes, dtype=object)[row > 0.5]) for row in targets]
        case "regression":
            return [float(number) for number in targets]


def _by_class(task: Task, chances: NDArray[Any], truth: NDArray[Any]) -> pd.DataFrame:
    """Recall and precision of each class; a share of no items is NaN."""
    single = task.kind == "single_label"
    numbers = np.arange(len(task.classes))
    actual = truth[:, None] == numbers if single else truth > 0.5
    predicted = chances.argmax(axis=1)[:, None] == numbers if single else chances >= 0.5
    right, items, claimed = (actual & predicted).sum(0), actual.sum(0), predicted.sum(0)
    with np.errstate(invalid="ignore"):
        columns = {"class": task.classes, "items": items, "recall": right / items, "precision": right / claimed}
    rows = pd.DataFrame(columns)
    if single:
        wrong = actual.T.astype(np.int64) @ predicted.astype(np.int64)
        np.fill_diagonal(wrong, 0)
        rows["taken_for"] = [task.classes[row.argmax()] if row.any() else None for row in wrong]
    kept: pd.DataFrame = rows.loc[(items > 0) | (claimed > 0)].reset_index(drop=True)
    return kept
