from types import SimpleNamespace

import numpy as np
import pytest

from autoft.data.task import Task, regression_task
from autoft.record import Objective
from autoft.tuner.constant import constant, constant_notes

ACCURACY = Objective("accuracy", "max")


def data(task, targets, test=10):
    """The first half trains, then come validation and test."""
    items = np.arange(len(targets))
    half = len(items) // 2
    splits = SimpleNamespace(train=items[:half], val=items[half : len(items) - test], test=items[len(items) - test :])
    return SimpleNamespace(task=task, targets=np.asarray(targets), splits=splits, groups=None)


UNEVEN = data(Task("single_label", ("common", "rare")), [0, 0, 0, 1] * 10)


@pytest.mark.parametrize(
    ("given", "metric", "answer", "value"),
    [
        (UNEVEN, "accuracy", "'common'", 0.8),
        (UNEVEN, "balanced_accuracy", "'common'", 0.5),
        (data(regression_task(np.array([1.0, 1.0, 7.0])), [1.0, 1.0, 7.0] * 2, 0), "mae", "1", 2.0),
        (data(regression_task(np.array([1.0, 1.0, 7.0])), [1.0, 1.0, 7.0] * 2, 0), "r2", "3", 0.0),
        (data(Task("multi_label", ("a", "b")), [[1.0, 0.0], [1.0, 1.0]] * 2, 0), "accuracy", "each label", 0.5),
    ],
    ids=["accuracy", "balanced", "median", "mean", "labels"],
)
def test_one_answer_for_all_is_scored_as_a_model_is(given, metric, answer, value):
    told = constant(given, given.task.objective(metric))
    assert told["answer"].startswith(answer)
    assert told["value"] == pytest.approx(value, abs=1e-6)
    assert (told["test"] is None) == (len(given.splits.test) == 0)


@pytest.mark.parametrize(
    ("val", "test", "interval", "said"),
    [
        (0.9, 0.7, None, "nothing shows that the model has learned from the data: accuracy 0.7 on the test split"),
        (0.9, 0.8, None, "always answering 'common' has 0.7: 10 items are too few to tell them apart"),
        (0.9, 1.0, None, None),
        (0.9, 0.8, (0.85, 0.95), None),
        (0.8, None, (0.75, 0.95), "accuracy 0.8 on the validation split"),
        (0.9, float("nan"), None, None),
    ],
    ids=["no better", "too few", "better", "better when confirmed", "without a test split", "no number"],
)
def test_what_is_no_better_than_one_answer_for_all_is_said(val, test, interval, said):
    plain = constant(UNEVEN, ACCURACY)
    reached = val, None if test is None else {"accuracy": test}
    notes = constant_notes(plain, UNEVEN, ACCURACY, reached=reached, interval=interval)
    assert len(notes) == (said is not None)
    assert not said or said in notes[0]


def test_a_split_of_one_class_is_said_to_tell_nothing():
    given = data(UNEVEN.task, [0, 0, 0, 1] * 5 + [1] * 20)
    plain = constant(given, ACCURACY)
    (note,) = constant_notes(plain, given, ACCURACY, reached=(1.0, {"accuracy": 0.0}))
    assert note.endswith("all items of test are alike, so that it cannot tell")


def test_of_errors_a_higher_one_is_no_better():
    given = data(regression_task(np.array([1.0, 1.0, 7.0])), [1.0, 1.0, 7.0] * 2, 0)
    objective = given.task.objective("mae")
    plain = constant(given, objective)
    assert constant_notes(plain, given, objective, reached=(2.5, None))
    assert not constant_notes(plain, given, objective, reached=(1.5, None))
