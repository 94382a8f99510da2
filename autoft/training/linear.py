"""Linear models on features that are fixed: what the probe reads from them, and what ``fit: solve`` makes of a head."""

import autoft.data.sklearn_alone  # noqa: F401 - before anything else imports scikit-learn

# isort: split
import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, Ridge
from threadpoolctl import threadpool_limits

from autoft.data import Task
from autoft.data.metrics import Array

_ITERATIONS = 200
_NEVER = -30.0
"""Log odds of a class that no item has."""


def solve_linear(
    task: Task,
    features: Array,
    targets: Array,
    *,
    penalty: float,
    class_weights: Array | None = None,
    with_bias: bool = True,
) -> tuple[Array, Array]:
    """Fit a logistic regression, one per label where an item may have several, or a ridge regression for numbers.

    On one thread: products this small only wait for each other on several, and where cores are busy they wait for long.

    Args:
        task: what is learnt.
        features: (N, F).
        targets: (N,) or (N, classes), as `Task` has them.
        penalty: what half the squared weights on standardised features weigh beside the mean loss per item.
        class_weights: (classes,), as `Task.class_weights` gives them.
        with_bias: whether there is one; it is not penalised.

    Returns:
        weight (num_outputs, F) and bias (num_outputs,), float64, for features as they are; the outputs are those that
        `Task.loss` takes.
    """
    features = features.astype(np.float64)
    mean = features.mean(axis=0) if with_bias else np.zeros(features.shape[1])
    scale = features.std(axis=0)
    scale[scale < 1e-12] = 1.0
    features -= mean
    features /= scale
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = LogisticRegression(C=1.0 / (penalty * len(features)), max_iter=_ITERATIONS, fit_intercept=with_bias)
        match task.kind:
            case "single_label":
                weight, bias = _classes(task.num_outputs, model, features, targets, class_weights)
            case "multi_label":
                positive = np.ones(len(targets.T)) if class_weights is None else class_weights
                parts = [_label(model, features, *each) for each in zip(targets.T, positive, strict=True)]
                weight, bias = np.concatenate([each for each, _ in parts]), np.concatenate([each for _, each in parts])
            case "regression":
                standard = (targets.astype(np.float64) - task.target_mean) / task.target_std
                ridge = Ridge(alpha=0.5 * penalty * len(features), fit_intercept=with_bias).fit(features, standard)
                weight, bias = ridge.coef_.reshape(1, -1), np.reshape(ridge.intercept_, 1)
    weight = weight / scale
    return weight, bias - weight @ mean


def _classes(
    count: int, model: LogisticRegression, features: Array, targets: Array, class_weights: Array | None
) -> tuple[Array, Array]:
    """Of a softmax over all classes, also over those that no item has."""
    weight, bias = np.zeros((count, features.shape[1])), np.full(count, _NEVER)
    seen = np.unique(targets)
    bias[seen] = 0.0
    if len(seen) == 1:
        return weight, bias
    model.fit(features, targets, sample_weight=None if class_weights is None else class_weights[targets])
    if len(seen) == 2:
        weight[seen[1]], bias[seen[1]] = model.coef_[0], model.intercept_[0]
    else:
        weight[seen], bias[seen] = model.coef_, model.intercept_
    return weight, bias


def _label(model: LogisticRegression, features: Array, truth: Array, positive: float) -> tuple[Array, Array]:
    """Of one sigmoid, (1, F) and (1,); an item that has the label weighs ``positive``."""
    if len(np.unique(truth)) == 1:
        return np.zeros((1, features.shape[1])), np.full(1, -_NEVER if truth[0] else _NEVER)
    model.fit(features, truth, sample_weight=np.where(truth > 0, positive, 1.0))
    return model.coef_.copy(), np.reshape(model.intercept_, 1).copy()
