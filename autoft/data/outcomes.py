"""What a model came to on each single item: what paired comparisons are made of."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from autoft.data.metrics import Array
from autoft.data.task import Task

BY_ITEM = ("accuracy", "balanced_accuracy", "log_loss", "loss", "mae", "mse")
"""Metrics that are a mean over items; for all others the loss stands in."""


def score_name(metric: str) -> str:
    """By what items are scored: the metric itself, or ``loss`` where it is not a mean over items."""
    return metric if metric in BY_ITEM else "loss"


def item_scores(task: Task, metric: str, outputs: Tensor, targets: Array) -> NDArray[np.float64]:
    """A score per item (n,), higher is better: right or wrong, or minus an error or loss; their mean is the metric.

    For ``balanced_accuracy`` an item of class c weighs n / (classes seen * n_c).

    Args:
        task: what is learnt.
        metric: what decides; `score_name` tells what is scored.
        outputs: (n, num_outputs), raw.
        targets: (n,) or (n, labels), as the task has them.
    """
    predicted: Array = task.predict(outputs).numpy()
    scores = _scores(task, metric, outputs, predicted, targets)
    return np.asarray(scores, dtype=np.float64)


def _scores(task: Task, metric: str, outputs: Tensor, predicted: Array, targets: Array) -> Array:
    match score_name(metric):
        case "accuracy" | "balanced_accuracy" as name:
            right = _right(task, predicted, targets)
            return right * _balance(targets) if name == "balanced_accuracy" else right
        case "mae":
            return np.asarray(-np.abs(predicted - targets))
        case "mse":
            return np.asarray(-np.square(predicted - targets))
        case _:
            return -task.loss(outputs.detach().cpu(), from_numpy(targets)).double().numpy()


def _right(task: Task, predicted: Array, targets: Array) -> Array:
    if task.kind == "single_label":
        return np.asarray(predicted.argmax(axis=1) == targets)
    return np.asarray(((predicted >= 0.5) == (targets > 0.5)).all(axis=1))


def _balance(targets: Array) -> Array:
    _, members, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return np.asarray(len(targets) / (len(counts) * counts[members]))
