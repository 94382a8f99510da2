"""Metrics beside those of the table: scikit-learn's scorers by their names, and functions of the caller's own."""

import math
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import autoft.data.sklearn_alone  # noqa: F401 - before anything else imports scikit-learn

# isort: split
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names, make_scorer

from autoft.data.metrics import METRICS, Array, TaskKind, metric_names
from autoft.errors import ConfigError, UnknownNameError, described, near

GivenMetric: TypeAlias = str | Callable[..., Any]
"""A name; a scorer as scikit-learn's ``make_scorer`` makes it; or a function of targets and predictions."""


@dataclass(frozen=True, slots=True)
class OtherMetric:
    """A scorer of scikit-learn under a name; higher is better."""

    name: str
    scorer: Callable[..., Any]
    """(estimator, items, targets) to a number."""

    def value(self, kind: TaskKind, predicted: Array, targets: Array) -> float:
        """What the scorer makes of predictions; NaN where that is not defined, which it says by a ValueError.

        Args:
            kind: of the task.
            predicted: probabilities (B, classes), or numbers (B,).
            targets: class numbers (B,), 0/1 (B, classes), or numbers (B,).

        Raises:
            ConfigError: it fails in another way.
        """
        try:
            return self._scored(kind, predicted, targets)
        except ValueError:
            return math.nan
        except Exception as error:
            raise self._failed(kind, targets, error) from error

    def check(self, kind: TaskKind, predicted: Array, targets: Array) -> None:
        """See that it is defined.

        Raises:
            ConfigError: it is not.
        """
        try:
            self._scored(kind, predicted, targets)
        except Exception as error:
            raise self._failed(kind, targets, error) from error

    def _scored(self, kind: TaskKind, predicted: Array, targets: Array) -> float:
        truth = targets.astype(np.int64) if kind == "multi_label" else targets
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of classes that nobody predicts, and the like
            return float(self.scorer(_model(kind, predicted), None, truth))

    def _failed(self, kind: TaskKind, targets: Array, error: Exception) -> ConfigError:
        return ConfigError(
            f"metric {self.name!r}: cannot be computed of {len(targets)} items of a {kind} task: {described(error)}; "
            "choose another one"
        )


def other_metrics(kind: TaskKind, given: Iterable[GivenMetric]) -> tuple[OtherMetric, ...]:
    """Those of the metrics given that stand in no table.

    Args:
        kind: of the task.
        given: names of any metrics, or callables.

    Raises:
        UnknownNameError: no such metric, or one of another kind of task.
        ConfigError: a callable without a name of its own.
    """
    return tuple(_other(kind, each) for each in given if each not in metric_names(kind))


def is_scorer(name: object) -> bool:
    """Whether scikit-learn has a scorer of that name, and no metric of the table has it."""
    return name in get_scorer_names() and name not in METRICS


def name_of(given: GivenMetric) -> str:
    """The name of a metric; of a function its own.

    Raises:
        ConfigError: it has none, or one that stands for something else.
    """
    if isinstance(given, str):
        return given
    name = str(getattr(getattr(given, "_score_func", given), "__name__", ""))
    if not name.isidentifier():
        raise ConfigError(f"metric: must have a name, by which the run keeps it, got {given!r}; define it with def")
    if name in METRICS or is_scorer(name):
        raise ConfigError(f"metric: {name!r} is the name of a known metric; give the name, or rename the function")
    return name


def _other(kind: TaskKind, given: GivenMetric) -> OtherMetric:
    name = name_of(given)
    if not isinstance(given, str):
        return OtherMetric(name, given if hasattr(given, "_score_func") else make_scorer(given))
    if is_scorer(name):
        return OtherMetric(name, get_scorer(name))
    raise unknown_metric(kind, name)


def unknown_metric(kind: TaskKind, name: str) -> UnknownNameError:
    """The error of a metric that there is not, or not for this kind of task."""
    fitting = metric_names(kind)
    known = (*fitting, *get_scorer_names())
    what = f"does not fit a {kind} task" if name in METRICS else f"is not known{near(name, known)}"
    return UnknownNameError(
        f"metric {name!r} {what}; use one of: {', '.join(fitting)}, the name of a scorer of scikit-learn, or in Python "
        "a function of your own"
    )


def _model(kind: TaskKind, predicted: Array) -> BaseEstimator:
    """A model, in scikit-learn's sense, that predicts this whatever it is given."""
    match kind:
        case "single_label":
            return _Classifier(predicted, predicted.argmax(axis=1), np.arange(predicted.shape[1]))
        case "multi_label":
            return _Classifier(predicted, (predicted >= 0.5).astype(np.int64), [np.arange(2)] * predicted.shape[1])
        case "regression":
            return _Regressor(predicted)


class _Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    def __init__(self, chances: Array, chosen: Array, classes: Any) -> None:
        self.chances, self.chosen, self.classes_ = chances, chosen, classes

    def predict(self, _items: None) -> Array:
        return self.chosen

    def predict_proba(self, _items: None) -> Array:
        return self.chances


class _Regressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    def __init__(self, numbers: Array) -> None:
        self.numbers = numbers

    def predict(self, _items: None) -> Array:
        return self.numbers
