"""Metrics: one table of what can be measured, and how."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from sklearn import metrics as sk

from autoft.record import Mode

TaskKind: TypeAlias = Literal["single_label", "multi_label", "regression"]
Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class Metric:
    """Which way a metric is better, and the kinds of task it fits."""

    mode: Mode
    kinds: tuple[TaskKind, ...]


_CLASSES: tuple[TaskKind, ...] = ("single_label", "multi_label")
_ALL: tuple[TaskKind, ...] = ("single_label", "multi_label", "regression")

METRICS: Mapping[str, Metric] = {
    "accuracy": Metric("max", _CLASSES),
    "balanced_accuracy": Metric("max", ("single_label",)),
    "macro_f1": Metric("max", _CLASSES),
    "average_precision": Metric("max", _CLASSES),
    "log_loss": Metric("min", _CLASSES),
    "mae": Metric("min", ("regression",)),
    "mse": Metric("min", ("regression",)),
    "r2": Metric("max", ("regression",)),
    "loss": Metric("min", _ALL),
}

DEFAULT_METRIC: Mapping[TaskKind, str] = {
    "single_label": "accuracy",
    "multi_label": "average_precision",
    "regression": "mae",
}


def metric_names(kind: TaskKind) -> tuple[str, ...]:
    """The metrics that fit a kind of task."""
    return tuple(name for name, metric in METRICS.items() if kind in metric.kinds)


def single_label_scores(probabilities: Array, targets: Array) -> dict[str, float]:
    """Scores of class probabilities (B, classes) against class numbers (B,).

    A class that does not occur in ``targets`` has no recall and no average precision and is left out of their
    means; in macro F1 it counts, with 0, when it is predicted (as scikit-learn does).
    """
    classes = probabilities.shape[1]
    predicted = probabilities.argmax(axis=1)
    right = np.bincount(targets[predicted == targets], minlength=classes)
    actual, claimed = np.bincount(targets, minlength=classes), np.bincount(predicted, minlength=classes)
    present, counted = actual > 0, actual + claimed > 0
    return {
        "accuracy": float((predicted == targets).mean()),
        "balanced_accuracy": float((right[present] / actual[present]).mean()),
        "macro_f1": float((2 * right[counted] / (actual + claimed)[counted]).mean()),
        "average_precision": average_precision(targets[:, None] == np.arange(classes), probabilities),
    }


def multi_label_scores(probabilities: Array, targets: Array) -> dict[str, float]:
    """Scores of label probabilities (B, labels) against 0/1 targets; a label is predicted from 0.5 on.

    ``accuracy`` is the share of items all of whose labels are right. Labels without a positive item are left out
    of the average precision, and count in macro F1, with 0, when they are predicted.
    """
    truth = targets.astype(np.int64)
    predicted = (probabilities >= 0.5).astype(np.int64)
    seen = np.flatnonzero(truth.any(axis=0) | predicted.any(axis=0))
    f1 = sk.f1_score(truth, predicted, labels=seen, average="macro", zero_division=0) if seen.size else np.nan
    return {
        "accuracy": float((truth == predicted).all(axis=1).mean()),
        "macro_f1": float(f1),
        "average_precision": average_precision(truth, probabilities),
    }


def regression_scores(predicted: Array, targets: Array) -> dict[str, float]:
    """Scores of numbers (B,) against numbers (B,), in their own unit; R2 needs two items."""
    return {
        "mae": float(sk.mean_absolute_error(targets, predicted)),
        "mse": float(sk.mean_squared_error(targets, predicted)),
        "r2": float(sk.r2_score(targets, predicted)) if len(targets) > 1 else float("nan"),
    }


def average_precision(truth: Array, scores: Array) -> float:
    """Macro average over the columns (B, classes) that have a positive item; NaN when none has.

    As scikit-learn's average_precision_score, all columns at once: a head is evaluated in a fraction of a millisecond.
    """
    truth = truth.astype(bool)
    present = truth.any(axis=0)
    if not present.any():
        return float("nan")
    truth, scores = truth[:, present], scores[:, present]
    order = np.argsort(-scores, axis=0, kind="stable")
    truth, scores = np.take_along_axis(truth, order, axis=0), np.take_along_axis(scores, order, axis=0)
    hits = truth.cumsum(axis=0)
    precision = hits / np.arange(1, len(truth) + 1)[:, None]
    # Items of one score are found together: each counts with the precision at the last of them.
    last = np.vstack([scores[1:] != scores[:-1], np.ones((1, scores.shape[1]), dtype=bool)])
    places = np.where(last, np.arange(len(truth))[:, None], len(truth))
    ends = np.minimum.accumulate(places[::-1], axis=0)[::-1]
    precision = np.take_along_axis(precision, ends, axis=0)
    return float(((precision * truth).sum(axis=0) / hits[-1]).mean())


SCORES: Mapping[TaskKind, Callable[[Array, Array], dict[str, float]]] = {
    "single_label": single_label_scores,
    "multi_label": multi_label_scores,
    "regression": regression_scores,
}
