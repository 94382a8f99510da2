from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from autoft.data.metrics import DEFAULT_METRIC, METRICS, metric_names, ranking_scores
from autoft.data.task import Task, regression_task

CLASSES = ("a", "b", "c", "d")
SINGLE = Task("single_label", CLASSES)
MULTI = Task("multi_label", CLASSES)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_single_label_metrics_are_scikit_learns(rng):
    outputs, targets = rng.normal(size=(200, 4)), rng.integers(0, 4, 200)
    values = SINGLE.metrics(torch.from_numpy(outputs), targets)
    probabilities = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
    predicted = outputs.argmax(1)
    assert values["accuracy"] == sk.accuracy_score(targets, predicted)
    assert values["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(targets, predicted))
    assert values["macro_f1"] == sk.f1_score(targets, predicted, average="macro")
    assert values["log_loss"] == pytest.approx(sk.log_loss(targets, probabilities))
    one_hot = np.eye(4)[targets]
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(one_hot, probabilities))
    assert values["roc_auc"] == pytest.approx(sk.roc_auc_score(targets, probabilities, multi_class="ovr"))


def test_multi_label_metrics_are_scikit_learns(rng):
    outputs, targets = rng.normal(size=(200, 4)), (rng.random((200, 4)) < 0.3).astype(np.float32)
    values = MULTI.metrics(torch.from_numpy(outputs), targets)
    probabilities = 1 / (1 + np.exp(-outputs))
    predicted = outputs >= 0
    assert values["accuracy"] == pytest.approx(sk.accuracy_score(targets, predicted))
    assert values["macro_f1"] == pytest.approx(sk.f1_score(targets, predicted, average="macro"))
    assert values["average_precision"] == pytest.approx(sk.average_precision_score(targets, probabilities))
    assert values["roc_auc"] == pytest.approx(sk.roc_auc_score(targets, probabilities))
    each = [sk.log_loss(targets[:, label], probabilities[:, label]) for label in range(4)]
    assert values["log_loss"] == pytest.approx(np.mean(each))


def test_regression_metrics_are_scikit_learns_in_the_targets_unit(rng):
    targets = rng.normal(size=50) * 7 + 100
    task = regression_task(targets)
    outputs = torch.from_numpy(rng.normal(size=(50, 1)))
    predicted = outputs.numpy()[:, 0] * targets.std() + targets.mean()
    values = task.metrics(outputs, targets)
    assert values["mae"] == pytest.approx(sk.mean_absolute_error(targets, predicted))
    assert values["mse"] == pytest.approx(sk.mean_squared_error(targets, predicted))
    assert values["r2"] == pytest.approx(sk.r2_score(targets, predicted))


@pytest.mark.parametrize(
    "targets",
    [[0, 0, 0, 0], [0, 1, 0, 1], [3, 3, 2, 3], [1]],
    ids=["one class", "two of four", "the last two", "one item"],
)
def test_classes_missing_from_the_split_neither_crash_nor_warn(targets):
    targets = np.array(targets)
    right = torch.eye(4)[targets] * 9
    values = SINGLE.metrics(right, targets)
    assert values["accuracy"] == values["balanced_accuracy"] == values["macro_f1"] == values["average_precision"] == 1.0
    wrong = SINGLE.metrics(torch.eye(4)[(targets + 1) % 4] * 9, targets)
    assert wrong["accuracy"] == 0.0
    assert wrong["roc_auc"] <= 0.5, "and one half where there is one class alone"
    assert np.isfinite(list(wrong.values())).all()


def test_a_missing_class_is_left_out_of_the_means():
    targets = np.array([0, 0, 1, 1])
    outputs = torch.eye(4)[[0, 2, 1, 1]] * 9
    values = SINGLE.metrics(outputs, targets)
    assert values["balanced_accuracy"] == 0.75
    assert values["macro_f1"] == pytest.approx((2 / 3 + 1 + 0) / 3)


@pytest.mark.parametrize("positives", [0, 1], ids=["no label at all", "one label in all"])
def test_labels_missing_from_the_split_neither_crash_nor_warn(positives):
    targets = np.zeros((5, 4), dtype=np.float32)
    targets[:, :positives] = 1
    values = MULTI.metrics(torch.from_numpy(targets * 8 - 4), targets)
    assert values["accuracy"] == 1.0
    if positives:
        assert values["macro_f1"] == values["average_precision"] == 1.0
    else:
        assert np.isnan(values["macro_f1"])
        assert np.isnan(values["average_precision"])


def test_average_precision_leaves_out_columns_without_a_positive():
    truth, scores = np.array([[1, 0], [0, 0]]), np.array([[0.2, 0.5], [0.8, 0.5]])
    assert ranking_scores(truth, scores[None]) == ([0.5], [0.0])


def test_r2_needs_two_items():
    assert np.isnan(regression_task(np.array([1.0, 3.0])).metrics(torch.zeros(1, 1), np.array([1.0]))["r2"])


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "regression"])
def test_the_default_metric_is_among_those_that_fit(kind):
    assert DEFAULT_METRIC[kind] in metric_names(kind)


def test_errors_are_minimised_and_scores_maximised():
    assert {name for name, metric in METRICS.items() if metric.mode == "min"} == {"log_loss", "mae", "mse", "loss"}


@pytest.mark.parametrize("levels", [2, 5, 1000])
def test_rankings_are_scored_as_scikit_learn_does_also_where_scores_are_equal(rng, levels):
    truth = rng.random((120, 6)) < 0.2
    scores = rng.integers(0, levels, size=(120, 6)) / levels
    precision, area = ranking_scores(truth, scores[None])
    for found, own in ((precision, sk.average_precision_score), (area, sk.roc_auc_score)):
        expected = [own(truth[:, label], scores[:, label]) for label in range(6)]
        assert found[0] == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "one label", "regression"])
def test_a_model_has_the_same_metrics_alone_and_beside_63_others(kind, rng):
    count = 1 if kind in {"one label", "regression"} else 4
    outputs = torch.from_numpy(rng.normal(size=(64, 37, count)).astype(np.float32))
    outputs[5, 3, 0] = torch.nan
    task, targets = {
        "single_label": (SINGLE, rng.integers(0, 4, 37)),
        "multi_label": (MULTI, (rng.random((37, 4)) < 0.3).astype(np.float32)),
        "one label": (Task("multi_label", ("a",)), (rng.random((37, 1)) < 0.3).astype(np.float32)),
        "regression": (regression_task(rng.normal(size=37)), rng.normal(size=37)),
    }[kind]
    together = task.metrics_of_each(outputs, targets)
    alone = [task.metrics(own, targets) for own in outputs]
    assert all(np.isnan(value) for value in together[5].values())
    assert [repr(own) for own in together] == [repr(own) for own in alone]


def test_the_help_names_every_metric():
    for path in ("autoft/cli/search.py", "autoft/tuner/search.py"):
        text = " ".join((Path(__file__).parents[2] / path).read_text(encoding="utf-8").replace('"', " ").split())
        assert f"{', '.join(list(METRICS)[:-1])} or loss" in text
