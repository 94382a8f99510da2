"""Scores per item: their mean is the metric."""

import numpy as np
import pytest
import torch

from autoft.data import Task
from autoft.data.outcomes import BY_ITEM, item_scores, score_name

TASKS = {
    "single_label": (Task("single_label", ("a", "b", "c")), np.arange(30) % 3),
    "multi_label": (Task("multi_label", ("a", "b", "c")), np.eye(3, dtype=np.float32)[np.arange(30) % 3]),
    "regression": (
        Task("regression", target_mean=2.0, target_std=3.0),
        np.linspace(-1, 1, 30).astype(np.float32),
    ),
}


@pytest.mark.parametrize(
    ("kind", "metric"),
    [
        ("single_label", "accuracy"),
        ("single_label", "balanced_accuracy"),
        ("single_label", "log_loss"),
        ("multi_label", "accuracy"),
        ("multi_label", "log_loss"),
        ("regression", "mae"),
        ("regression", "mse"),
        ("regression", "loss"),
    ],
)
def test_the_mean_over_items_is_the_metric(kind, metric):
    task, targets = TASKS[kind]
    targets = targets[:25]
    outputs = torch.randn(25, task.num_outputs, generator=torch.Generator().manual_seed(0))
    scores = item_scores(task, metric, outputs, targets)
    sign = 1 if task.objective(metric).mode == "max" else -1
    assert metric in BY_ITEM
    assert sign * scores.mean() == pytest.approx(task.metrics(outputs, targets)[metric], rel=1e-5)


def test_a_metric_that_is_no_mean_over_items_is_scored_by_the_loss():
    task, targets = TASKS["single_label"]
    outputs = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    assert score_name("macro_f1") == "loss"
    assert -item_scores(task, "macro_f1", outputs, targets).mean() == pytest.approx(
        task.metrics(outputs, targets)["loss"], rel=1e-5
    )
