import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.data.metrics import METRICS, metric_names
from autoft.data.task import Task, regression_task
from autoft.errors import ConfigError, UnknownNameError
from autoft.recipe import DataConfig, Optimisation

SINGLE = Task("single_label", ("a", "b", "c"))
MULTI = Task("multi_label", ("a", "b", "c"))
REGRESSION = regression_task(np.array([2.0, 4.0, 6.0, 8.0]))


def example(task, count=12, seed=0):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, task.num_outputs, generator=generator)
    if task.kind == "single_label":
        return outputs, torch.arange(count) % task.num_outputs
    if task.kind == "multi_label":
        return outputs, (torch.rand(count, task.num_outputs, generator=generator) < 0.4).float()
    return outputs, torch.randn(count, generator=generator) * 3 + 5


TASKS = pytest.mark.parametrize("task", [SINGLE, MULTI, REGRESSION], ids=lambda task: task.kind)
WITH_CLASSES = pytest.mark.parametrize("task", [SINGLE, MULTI], ids=lambda task: task.kind)


@pytest.mark.parametrize(("task", "width"), [(SINGLE, 3), (MULTI, 3), (REGRESSION, 1)])
def test_the_task_decides_the_heads_width(task, width):
    assert task.num_outputs == width


@TASKS
def test_the_loss_is_per_item_and_its_mean_is_the_loss_among_the_metrics(task):
    outputs, targets = example(task)
    each = task.loss(outputs, targets)
    assert each.shape == (12,)
    assert task.metrics(outputs, targets)["loss"] == pytest.approx(float(each.mean()), rel=1e-5)


@TASKS
def test_the_loss_of_targets_as_distributions_is_that_of_the_targets(task):
    outputs, targets = example(task)
    torch.testing.assert_close(task.loss(outputs, task.distribution(targets)), task.loss(outputs, targets))


@WITH_CLASSES
def test_class_weights_and_smoothing_agree_on_targets_and_on_distributions(task):
    outputs, targets = example(task)
    weights = torch.tensor([0.5, 1.0, 2.0])
    plain = task.loss(outputs, targets, label_smoothing=0.1, class_weights=weights)
    mixed = task.loss(outputs, task.distribution(targets), label_smoothing=0.1, class_weights=weights)
    torch.testing.assert_close(plain, mixed)
    assert not torch.allclose(plain, task.loss(outputs, targets))


@WITH_CLASSES
def test_smoothing_never_lets_a_certain_output_be_free(task):
    sure = torch.tensor([[50.0, -50.0, -50.0]])
    targets = torch.tensor([0]) if task is SINGLE else torch.tensor([[1.0, 0.0, 0.0]])
    assert float(task.loss(sure, targets)) == pytest.approx(0.0, abs=1e-6)
    assert float(task.loss(sure, targets, label_smoothing=0.1)) > 1.0


def test_smoothing_of_labels_moves_both_ends_towards_a_half():
    outputs = torch.tensor([[0.3, -1.0, 2.0]])
    smoothed = MULTI.loss(outputs, torch.tensor([[1.0, 0.0, 0.0]]), label_smoothing=0.2)
    torch.testing.assert_close(smoothed, MULTI.loss(outputs, torch.tensor([[0.9, 0.1, 0.1]])))


def test_regression_learns_in_standard_deviations_and_predicts_in_the_unit_of_the_target():
    targets = torch.tensor([2.0, 4.0, 6.0, 8.0])
    outputs = ((targets - REGRESSION.target_mean) / REGRESSION.target_std)[:, None]
    torch.testing.assert_close(REGRESSION.predict(outputs), targets.double())
    assert REGRESSION.metrics(outputs, targets)["mae"] == pytest.approx(0.0, abs=1e-6)
    off = REGRESSION.metrics(outputs + 1.0, targets)
    assert off["mae"] == pytest.approx(REGRESSION.target_std)
    assert off["loss"] == pytest.approx(1.0)


def test_equal_regression_targets_have_a_standard_deviation_of_one():
    assert regression_task(np.full(5, 3.0)) == Task("regression", target_mean=3.0, target_std=1.0)


@TASKS
def test_outputs_that_are_not_finite_give_nan_and_no_crash(task):
    outputs, targets = example(task)
    outputs[3, 0] = float("nan")
    values = task.metrics(outputs, targets)
    assert set(values) == set(metric_names(task.kind))
    assert np.isnan(list(values.values())).all()


@TASKS
def test_metrics_accept_numpy_targets_and_low_precision_outputs(task):
    outputs, targets = example(task)
    assert task.metrics(outputs, targets.numpy()) == task.metrics(outputs, targets)
    assert set(task.metrics(outputs.bfloat16(), targets)) == set(metric_names(task.kind))


@pytest.mark.parametrize(
    ("task", "metric", "mode"),
    [(SINGLE, "accuracy", "max"), (MULTI, "average_precision", "max"), (REGRESSION, "mae", "min")],
)
def test_each_kind_has_a_default_objective(task, metric, mode):
    assert (task.objective().metric, task.objective().mode) == (metric, mode)


@TASKS
def test_every_metric_of_a_kind_is_computed_and_is_an_objective(task):
    values = task.metrics(*example(task))
    for name in metric_names(task.kind):
        assert np.isfinite(values[name])
        assert task.objective(name).mode == METRICS[name].mode


@pytest.mark.parametrize(
    ("task", "metric", "message"),
    [
        (SINGLE, "acuracy", "did you mean 'accuracy'"),
        (SINGLE, "zzz", "'zzz' is not known; use one of: accuracy, balanced_accuracy, macro_f1"),
        (SINGLE, "mae", "'mae' does not fit a single_label task; use one of: accuracy"),
        (REGRESSION, "accuracy", "'accuracy' does not fit a regression task; use one of: mae, mse, r2, loss"),
        (MULTI, "balanced_accuracy", "does not fit a multi_label task"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_with_those_that_do(task, metric, message):
    with pytest.raises(UnknownNameError) as error:
        task.objective(metric)
    assert message in str(error.value)


def test_the_constant_loss_is_the_entropy_of_the_priors():
    targets = np.array([0, 0, 1, 2])
    expected = -(0.5 * np.log(0.5) + 0.5 * np.log(0.25))
    assert SINGLE.constant_loss(targets, targets) == pytest.approx(expected)


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1))
def test_no_constant_output_beats_the_constant_loss_on_its_own_targets(seed):
    rng = np.random.default_rng(seed)
    for task in (SINGLE, MULTI):
        outputs, targets = example(task, count=30, seed=seed % 1000)
        guess = torch.from_numpy(rng.normal(size=(1, 3))).float().expand_as(outputs)
        best = task.constant_loss(targets.numpy(), targets.numpy())
        if targets.reshape(30, -1).float().std(0).min() > 0:
            assert best <= float(task.loss(guess, targets).mean()) + 1e-6
    targets = rng.normal(size=30)
    task = regression_task(targets)
    assert task.constant_loss(targets, targets) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("task", "train", "val"),
    [
        (SINGLE, np.array([0, 0, 1]), np.array([2, 2])),
        (MULTI, np.array([[1, 0, 1], [1, 0, 0]]), np.array([[0, 1, 0]])),
    ],
    ids=["single_label", "multi_label"],
)
def test_the_constant_loss_is_finite_where_a_class_was_not_seen_in_training(task, train, val):
    assert 0.0 < task.constant_loss(train, val) < 10.0


def test_balanced_weights_give_every_class_the_same_total():
    targets = np.repeat([0, 1, 2], [10, 30, 60])
    weights = SINGLE.class_weights(targets).numpy()
    totals = weights * np.bincount(targets)
    np.testing.assert_allclose(totals, totals[0], rtol=1e-6)
    assert weights[targets].mean() == pytest.approx(1.0)


def test_balanced_weights_of_classes_and_labels_not_seen_are_one():
    assert SINGLE.class_weights(np.array([0, 0, 1, 1])).tolist() == [1.0, 1.0, 1.0]
    labels = np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]])
    assert MULTI.class_weights(labels).tolist() == [3.0, 1.0, 1.0]


def test_settings_that_mean_nothing_for_the_kind_are_refused_all_at_once():
    data = DataConfig(sampler="balanced", class_weights="balanced")
    optimisation = Optimisation(label_smoothing=0.1)
    SINGLE.check(data, optimisation)
    with pytest.raises(ConfigError) as error:
        REGRESSION.check(data, optimisation)
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "data.sampler",
        "data.class_weights",
        "optimisation.label_smoothing",
    ]
    with pytest.raises(ConfigError, match=r"data\.sampler"):
        MULTI.check(data, optimisation)
    with pytest.raises(ConfigError, match="needs classes"):
        REGRESSION.class_weights(np.zeros(3))


def test_strata_are_classes_rarest_labels_and_tenths():
    assert SINGLE.strata(np.array([2, 0, 1])).tolist() == [2, 0, 1]
    labels = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1], [1, 1, 0]], dtype=np.float32)
    assert MULTI.strata(labels).tolist() == [1, 0, 3, 2, 1]
    tenths = REGRESSION.strata(np.random.default_rng(0).normal(size=1000))
    assert np.bincount(tenths).tolist() == [100] * 10
    assert REGRESSION.strata(np.full(7, 3.0)).max() <= 9


@TASKS
def test_a_task_survives_pickling(task):
    assert pickle.loads(pickle.dumps(task)) == task
