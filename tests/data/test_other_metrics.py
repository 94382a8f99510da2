"""Metrics beside the table: scikit-learn's by name, and functions of one's own, are what scikit-learn makes of them."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

from autoft.data import Task
from autoft.data.task import regression_task
from autoft.errors import ConfigError, UnknownNameError

SINGLE = Task("single_label", ("a", "b", "c"))
MULTI = Task("multi_label", ("a", "b", "c"))
NUMBERS = regression_task(np.array([2.0, 4.0, 6.0, 8.0]))


def example(task, count=30, seed=0):
    """Outputs, targets, and what they predict: probabilities or numbers, and what is chosen."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(count, task.num_outputs, generator=generator)
    if task.kind == "regression":
        numbers = task.predict(outputs).numpy()
        return outputs, torch.randn(count, generator=generator) * 3 + 5, numbers, numbers
    chances = task.predict(outputs).numpy()
    if task.kind == "single_label":
        return outputs, torch.arange(count) % 3, chances, chances.argmax(axis=1)
    return outputs, (torch.rand(count, 3, generator=generator) < 0.4).float(), chances, chances >= 0.5


def kappa(targets, predictions):
    """Grows with agreement; mistakes count by their distance."""
    return sk.cohen_kappa_score(targets, predictions, weights="quadratic")


def surprise(targets, chances):
    """The more, the worse."""
    return -np.log(chances[np.arange(len(targets)), targets]).max()


SURPRISE = sk.make_scorer(surprise, greater_is_better=False, response_method="predict_proba")


@pytest.mark.parametrize(
    ("task", "metric", "expected"),
    [
        (SINGLE, "matthews_corrcoef", lambda truth, _, chosen: sk.matthews_corrcoef(truth, chosen)),
        (SINGLE, "f1_weighted", lambda truth, _, chosen: sk.f1_score(truth, chosen, average="weighted")),
        (SINGLE, "roc_auc_ovo", lambda truth, chances, _: sk.roc_auc_score(truth, chances, multi_class="ovo")),
        (SINGLE, "neg_log_loss", lambda truth, chances, _: -sk.log_loss(truth, chances)),
        (SINGLE, kappa, lambda truth, _, chosen: kappa(truth, chosen)),
        (SINGLE, SURPRISE, lambda truth, chances, _: -surprise(truth, chances)),
        (MULTI, "f1_samples", lambda truth, _, chosen: sk.f1_score(truth, chosen, average="samples", zero_division=0)),
        (MULTI, "jaccard_macro", lambda truth, _, chosen: sk.jaccard_score(truth, chosen, average="macro")),
        (NUMBERS, "neg_median_absolute_error", lambda truth, said, _: -sk.median_absolute_error(truth, said)),
        (NUMBERS, sk.r2_score, None),
    ],
)
def test_a_metric_is_what_scikit_learn_makes_of_the_predictions(task, metric, expected):
    outputs, targets, predicted, chosen = example(task)
    judged = task.judged_by([metric])
    objective, values = judged.objective(metric), judged.metrics(outputs, targets)
    assert objective.mode == "max"
    assert judged.objective(objective.metric) == objective, "by its name too"
    if expected is None:
        assert values["r2_score"] == pytest.approx(values["r2"])
    else:
        assert values[objective.metric] == pytest.approx(expected(targets.numpy(), predicted, chosen))
    assert {name: values[name] for name in task.metrics(outputs, targets)} == task.metrics(outputs, targets)


def test_each_of_several_models_has_the_value_that_it_has_alone():
    judged = SINGLE.judged_by(["matthews_corrcoef", kappa])
    many = torch.stack([example(SINGLE, seed=seed)[0] for seed in range(4)])
    many[2, 0, 0] = torch.nan
    targets = example(SINGLE)[1]
    found = judged.metrics_of_each(many, targets)
    np.testing.assert_equal(found, [judged.metrics(own, targets) for own in many])
    assert np.isnan(found[2]["kappa"])


def test_a_task_is_the_same_whatever_it_is_judged_by_and_keeps_what_it_was():
    judged = SINGLE.judged_by(["accuracy", "matthews_corrcoef"])
    assert judged == SINGLE
    assert [one.name for one in judged.others] == ["matthews_corrcoef"], "the table's own are measured in any case"
    assert [one.name for one in judged.judged_by([kappa, "matthews_corrcoef"]).others] == ["matthews_corrcoef", "kappa"]


def test_what_is_not_defined_of_some_targets_is_no_number():
    judged = SINGLE.judged_by(["roc_auc_ovr"])
    outputs, targets, *_ = example(SINGLE)
    assert np.isnan(judged.metrics(outputs, targets.clamp(max=1))["roc_auc_ovr"]), "a class is missing"


def test_a_function_that_fails_is_told_by_its_name():
    def broken(targets, predictions):
        return targets["a"] + predictions

    outputs, targets, *_ = example(SINGLE)
    with pytest.raises(
        ConfigError, match="metric 'broken': cannot be computed of 30 items of a single_label task: Ind"
    ):
        SINGLE.judged_by([broken]).metrics(outputs, targets)


def rate(targets, predictions):
    """Stands for a name that is taken."""
    return np.mean(targets == predictions)


@pytest.mark.parametrize(
    ("name", "told"),
    [("<lambda>", "must have a name"), ("accuracy", "is the name of a known metric"), ("f1_micro", "is the name of a")],
)
def test_a_function_must_have_a_name_of_its_own(name, told, monkeypatch):
    monkeypatch.setattr(rate, "__name__", name)
    with pytest.raises(ConfigError, match=told):
        SINGLE.judged_by([rate])


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("matthews_corcoef", "did you mean 'matthews_corrcoef'"),
        ("mae", "'mae' does not fit a single_label task; use one of: accuracy"),
        ("kappa", "'kappa' is not known.*the name of a scorer of scikit-learn, or in Python a function of your own"),
    ],
)
def test_a_name_of_none_is_told_with_those_that_are(metric, told):
    with pytest.raises(UnknownNameError, match=told):
        SINGLE.judged_by([metric])


def test_only_what_is_measured_can_decide():
    with pytest.raises(UnknownNameError, match="matthews_corrcoef"):
        SINGLE.objective("matthews_corrcoef")
