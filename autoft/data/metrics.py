"""Metrics: one table of what can be measured, and how."""

import autoft.data.sklearn_alone  # noqa: F401 - before anything else imports scikit-learn

# isort: split
from collections.abc import Callable, Mapping, Sequence
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
    "roc_auc": Metric("max", _CLASSES),
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


def single_label_scores(probabilities: Array, targets: Array) -> list[dict[str, float]]:
    """Scores of class probabilities (K, B, classes) of K models against class numbers (B,).

    A class that does not occur in ``targets`` has no recall, no average precision and no area under its ROC curve and
    is left out of their means; in macro F1 it counts, with 0, when it is predicted (as scikit-learn does).
    """
    models, _, classes = probabilities.shape
    predicted = probabilities.argmax(axis=2)
    hits = predicted == targets
    places = predicted + classes * np.arange(models)[:, None]
    right, claimed = _counts(places[hits], models, classes), _counts(places.ravel(), models, classes)
    actual = np.bincount(targets, minlength=classes)
    present, counted = actual > 0, actual + claimed > 0
    f1 = 2 * right / np.maximum(actual + claimed, 1)
    precision, area = ranking_scores(targets[:, None] == np.arange(classes), probabilities)
    return _by_model(
        accuracy=hits.mean(axis=1),
        balanced_accuracy=(right[:, present] / actual[present]).mean(axis=1),
        macro_f1=f1.sum(axis=1) / counted.sum(axis=1),
        average_precision=precision,
        roc_auc=area,
    )


def multi_label_scores(probabilities: Array, targets: Array) -> list[dict[str, float]]:
    """Scores of label probabilities (K, B, labels) of K models against 0/1 targets; a label is predicted from 0.5 on.

    ``accuracy`` is the share of items all of whose labels are right. Labels without a positive item are left out
    of the average precision, those that all or no items have of the area under the ROC curve; in macro F1 labels count,
    with 0, when they are predicted.
    """
    truth = targets.astype(np.int64)
    predicted = (probabilities >= 0.5).astype(np.int64)
    precision, area = ranking_scores(truth, probabilities)
    return _by_model(
        accuracy=(truth == predicted).all(axis=2).mean(axis=1),
        macro_f1=[_multi_label_f1(truth, own) for own in predicted],
        average_precision=precision,
        roc_auc=area,
    )


def regression_scores(predicted: Array, targets: Array) -> list[dict[str, float]]:
    """Scores of numbers (K, B) of K models against numbers (B,), in their own unit; R2 needs two items."""
    return _by_model(
        mae=[sk.mean_absolute_error(targets, own) for own in predicted],
        mse=[sk.mean_squared_error(targets, own) for own in predicted],
        r2=[sk.r2_score(targets, own) if len(targets) > 1 else np.nan for own in predicted],
    )


def ranking_scores(truth: Array, scores: Array) -> tuple[Array, Array]:
    """Per model the average precision and the area under the ROC curve, macro averages over the columns that have one.

    As scikit-learn's average_precision_score and roc_auc_score (one column against the rest), all columns of all models
    at once: a head is evaluated in a fraction of a millisecond.

    Args:
        truth: (B, columns).
        scores: (K, B, columns).

    Returns:
        both (K,), NaN when no column has a positive item. Where none that has one has a negative one too there is
        nothing to put in order, and the area is one half, as for any constant answer.
    """
    models, items, _ = scores.shape
    present = truth.astype(bool).any(axis=0)
    if not present.any():
        return np.full(models, np.nan), np.full(models, np.nan)
    both = ~truth.astype(bool)[:, present].all(axis=0)
    truth = np.tile(truth.astype(bool)[:, present].T, (models, 1))
    scores = np.moveaxis(scores[:, :, present], 2, 1).reshape(len(truth), items)
    order = np.argsort(-scores, axis=1, kind="stable")
    truth, scores = np.take_along_axis(truth, order, axis=1), np.take_along_axis(scores, order, axis=1)
    hits = truth.cumsum(axis=1)
    last = np.hstack([scores[:, 1:] != scores[:, :-1], np.ones((len(scores), 1), dtype=bool)])
    ends, found, twice = np.arange(items), hits, 2 * hits
    if not last.all():  # items of one score are found together: each counts with the state at the last of them
        firsts = np.hstack([np.ones((len(scores), 1), dtype=bool), last[:, :-1]])
        starts = np.maximum.accumulate(np.where(firsts, np.arange(items), 0), axis=1)
        ends = np.minimum.accumulate(np.where(last, np.arange(items), items)[:, ::-1], axis=1)[:, ::-1]
        found = np.take_along_axis(hits, ends, axis=1)
        twice = found + np.take_along_axis(hits - truth, starts, axis=1)
    positive = hits[:, -1]
    precision = ((found / (ends + 1)) * truth).sum(axis=1) / positive
    won = (twice * ~truth).sum(axis=1) / 2  # pairs in which the positive item has the higher score
    area = (won / np.maximum(positive * (items - positive), 1)).reshape(models, -1)[:, both]
    return precision.reshape(models, -1).mean(axis=1), area.mean(axis=1) if both.any() else np.full(models, 0.5)


def _multi_label_f1(truth: Array, predicted: Array) -> float:
    seen = np.flatnonzero(truth.any(axis=0) | predicted.any(axis=0))
    if not seen.size:
        return float("nan")
    return float(sk.f1_score(truth, predicted, labels=seen, average="macro", zero_division=0))


def _counts(places: Array, models: int, classes: int) -> Array:
    """How often each class of each model occurs, (K, classes)."""
    return np.bincount(places, minlength=models * classes).reshape(models, classes)


def _by_model(**scores: Sequence[float] | Array) -> list[dict[str, float]]:
    return [dict(zip(scores, map(float, own), strict=True)) for own in zip(*scores.values(), strict=True)]


SCORES: Mapping[TaskKind, Callable[[Array, Array], list[dict[str, float]]]] = {
    "single_label": single_label_scores,
    "multi_label": multi_label_scores,
    "regression": regression_scores,
}
