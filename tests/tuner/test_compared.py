"""Models are compared item by item, on items that mean the same to all of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import autoft
from autoft.data import Task
from autoft.data.labelled import Labelled
from autoft.errors import ConfigError, DataError, ModelError
from autoft.recipe import Recipe
from autoft.tuner.compared import compared
from autoft.tuner.evaluated import evaluated

PETS = ("cat", "dog")
TASK = Task("single_label", PETS)


def found(right, *, of=200, task=TASK, groups=None):
    """What a model came to that is right on the first so many items."""
    targets = np.arange(of) % 2
    said = np.where(np.arange(of) < right, targets, 1 - targets)
    names = tuple(f"{number}.png" for number in range(of))
    items = Labelled("pets", names, targets, groups, (), (), None, np.arange(of))
    table = pd.DataFrame({"item": names, "prediction": said})
    return evaluated(task, items, np.ones(of, dtype=bool), torch.eye(2)[said] * 4, table)


def test_the_best_comes_first_and_what_cannot_be_told_from_it_is_named():
    told = compared({"a": found(150), "b": found(180), "c": found(179)}, dict.fromkeys("abc", TASK))
    assert [row.name for row in told.rows] == ["b", "c", "a"]
    assert [row.metrics["accuracy"] for row in told.rows] == [0.9, 0.895, 0.75]
    best, second, far = told.rows
    assert best.behind is None
    assert (second.behind.difference, second.behind.real) == (pytest.approx(0.005), False)
    assert (far.behind.difference, far.behind.real) == (pytest.approx(0.15), True)
    near = "b is ahead, but on 200 items cannot be told from c"
    assert told.verdict == f"{near}, and is better than 1 by more than chance"
    alone = compared({"a": found(150), "b": found(180)}, dict.fromkeys("ab", TASK))
    assert alone.verdict == "b is better than a by more than chance"


def test_answers_are_paired_so_that_what_both_miss_says_nothing():
    told = compared({"a": found(100), "b": found(110)}, dict.fromkeys("ab", TASK))
    low, high = told.rows[0].interval
    assert low < told.rows[1].metrics["accuracy"] < high, "the intervals of each alone overlap"
    assert told.rows[1].behind.real


def test_items_that_belong_together_count_once():
    groups = np.repeat([f"g{number}" for number in range(20)], 10)
    models = {"a": found(100, groups=groups), "b": found(110, groups=groups)}
    told = compared(models, dict.fromkeys("ab", TASK))
    assert told.rows[1].behind.groups == 20
    assert not told.rows[1].behind.real, "all ten items are of one group"
    assert told.rows[0].interval is None


def test_items_of_one_group_say_nothing_of_others():
    models = {name: found(right, groups=np.repeat("g", 200)) for name, right in {"a": 100, "b": 110}.items()}
    with pytest.raises(DataError, match="all items are of the group g: nothing can be said of others"):
        compared(models, dict.fromkeys("ab", TASK))


def test_a_model_that_is_ahead_by_the_metric_and_not_by_the_loss_is_not_called_better():
    sure = found(180)
    sure = replace(sure, outputs=sure.outputs * 20)  # its few mistakes cost more than all of the other's
    told = compared({"a": found(170), "b": sure}, dict.fromkeys("ab", TASK), "macro_f1")
    assert told.rows[1].behind.difference < 0
    assert told.rows[1].behind.real
    assert told.verdict == "b is ahead, but on 200 items cannot be told from a"


def test_a_metric_that_is_no_mean_over_items_is_compared_by_the_loss():
    told = compared({"a": found(150), "b": found(180)}, dict.fromkeys("ab", TASK), "macro_f1")
    assert (told.metric, told.scored_by, told.rows[0].name) == ("macro_f1", "loss", "b")
    losses = [row.metrics["loss"] for row in told.rows]
    assert told.rows[1].behind.difference == pytest.approx(losses[1] - losses[0])


def test_less_is_better_where_the_metric_says_so():
    told = compared({"a": found(150), "b": found(180)}, dict.fromkeys("ab", TASK), "log_loss")
    assert [row.name for row in told.rows] == ["b", "a"]
    assert told.rows[1].behind.difference > 0


def test_other_items_are_refused():
    fewer = found(90, of=100)
    with pytest.raises(DataError, match=r"a and b do not mean the same items: 100 are only one's.*; give --data"):
        compared({"a": found(150), "b": fewer}, dict.fromkeys("ab", TASK))
    with pytest.raises(DataError, match="1 item: is too few"):
        compared({"a": found(1, of=1), "b": found(1, of=1)}, dict.fromkeys("ab", TASK))


def test_answers_that_are_no_numbers_are_refused():
    broken = found(180)
    broken = replace(broken, outputs=broken.outputs * float("nan"))
    with pytest.raises(ModelError, match="b: answers some items with what is no number; leave it out"):
        compared({"a": found(150), "b": broken}, dict.fromkeys("ab", TASK), "log_loss")


@pytest.mark.parametrize(
    ("models", "told"),
    [
        ([], "at least 2, got 0"),
        ("runs/a", "at least 2, got 1; for one model: autoft evaluate"),
        (["runs/a", "runs/a"], "runs/a is given twice"),
        (["runs/a", Path("runs/a")], "runs/a is given twice"),
    ],
)
def test_two_models_are_needed(models, told):
    with pytest.raises(ConfigError, match=told):
        autoft.compare(models, "data")


@pytest.fixture(scope="module")
def predictors(tmp_path_factory):
    """Two models of numbers, one of which was trained; and where the second lies."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3, 32, 32)).astype(np.float32)
    y = (x[:, 0].mean(axis=(1, 2)) > 0).astype(np.int64)
    folder = tmp_path_factory.mktemp("models")
    np.savez(folder / "data.npz", x=x, y=y)
    made = {}
    for epochs in (1, 5):
        plain = {"model": {"name": "test_vit", "weights": "random"}, "data": {"image_size": 32}}
        recipe = Recipe.parse({**plain, "stages": [{"name": "head", "epochs": epochs}]}, where="test")
        made[epochs] = autoft.fine_tune(recipe, folder / "data.npz", device="cpu", reuse=False)
    made[5].save(folder / "five")
    return folder, made[1].predictor


def test_models_of_files_and_of_this_process_are_compared(predictors):
    folder, one = predictors
    told = autoft.compare({"one": one, "five": folder / "five"}, folder / "data.npz", device="cpu")
    assert {row.name for row in told.rows} == {"one", "five"}
    assert told.items == 80
    assert told.rows[1].metrics["accuracy"] <= told.rows[0].metrics["accuracy"]
    with pytest.raises(ConfigError, match="data: is required where no model is a run"):
        autoft.compare({"one": one, "five": folder / "five"})
