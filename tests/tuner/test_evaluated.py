"""A model is measured on labelled items as the search would have measured it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny import tiny_data

import autoft
from autoft.data import Task
from autoft.data.labelled import Labelled
from autoft.errors import DataError
from autoft.recipe import Recipe
from autoft.statistics import wilson_interval
from autoft.tuner.evaluated import evaluated
from autoft.tuner.predictor import Predictor

PETS = ("cat", "cow", "dog")


def measured(task, targets, outputs, *, groups=None, readable=None):
    targets = np.asarray(targets)
    readable = np.ones(len(targets), dtype=bool) if readable is None else np.array(readable)
    names = tuple(map(str, range(len(targets))))
    found = Labelled("pets", names, targets, groups, (), (), None, np.arange(len(targets)))
    table = pd.DataFrame({"item": names, "prediction": np.where(readable, "x", None)})
    return evaluated(task, found, readable, torch.as_tensor(outputs, dtype=torch.float32), table)


def test_each_class_has_what_is_found_of_it_and_what_it_is_taken_for():
    answers = torch.eye(3)[[0, 0, 2, 2, 2, 0]] * 5
    found = measured(Task("single_label", PETS), [0, 0, 0, 2, 2, 2], answers)
    assert found.metrics["accuracy"] == pytest.approx(4 / 6)
    assert found.interval == (wilson_interval(4, 6).low, wilson_interval(4, 6).high)
    assert found.by_class.to_dict("records") == [
        {"class": "cat", "items": 3, "recall": 2 / 3, "precision": 2 / 3, "taken_for": "dog"},
        {"class": "dog", "items": 3, "recall": 2 / 3, "precision": 2 / 3, "taken_for": "cat"},
    ]
    assert found.table["label"].tolist() == ["cat"] * 3 + ["dog"] * 3
    assert found.items == 6


def test_a_class_that_is_only_predicted_has_no_recall():
    found = measured(Task("single_label", PETS), [0, 0], torch.eye(3)[[0, 1]])
    cow = found.by_class.iloc[1]
    assert (cow["class"], cow["items"], cow["precision"]) == ("cow", 0, 0.0)
    assert math.isnan(cow["recall"])


def test_of_several_labels_each_is_measured():
    outputs = [[4.0, -4, 4], [-4, 4, -4]]
    found = measured(Task("multi_label", PETS), np.array([[1, 0, 1], [1, 0, 0]], dtype=np.float32), outputs)
    assert found.by_class[["class", "items"]].to_dict("list") == {"class": [*PETS], "items": [2, 0, 1]}
    assert found.by_class["recall"].tolist()[::2] == [0.5, 1.0]
    assert found.table["label"].tolist() == ["cat;dog", "cat"]


def test_numbers_have_no_classes_and_no_interval():
    found = measured(Task("regression", target_mean=10.0, target_std=2.0), np.array([12.0, 8.0]), [[1.0], [0.0]])
    assert found.metrics["mae"] == 1.0
    assert (found.by_class, found.interval) == (None, None)
    assert found.table["label"].tolist() == [12.0, 8.0]


def test_groups_have_no_interval_and_what_cannot_be_read_is_left_out():
    groups = np.array(["a", "b"])
    found = measured(Task("single_label", PETS), [0, 2], torch.eye(3)[[0]], groups=groups, readable=[True, False])
    assert (found.interval, found.items, found.lost) == (None, 1, ("1",))
    assert found.metrics["accuracy"] == 1.0


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Red and blue, eight each, in three splits."""
    folder = tmp_path_factory.mktemp("data")
    for split, numbers in {"train": range(8), "val": range(8, 12), "test": range(12, 16)}.items():
        for place, name in enumerate(("blue", "red")):
            (folder / split / name).mkdir(parents=True)
            for number in numbers:
                colour = (15 * number, 0, 0) if place else (0, 0, 15 * number)
                Image.new("RGB", (32, 32), colour).save(folder / split / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def fitted(photos):
    plain = {"model": {"name": "test_vit", "weights": "random"}, "data": {"image_size": 32}}
    recipe = Recipe.parse({**plain, "stages": [{"name": "head", "epochs": 2}]}, where="test")
    return autoft.fine_tune(recipe, photos, device="cpu", reuse=False)


def test_a_split_comes_to_what_the_fine_tuning_measured(photos, fitted):
    found = fitted.predictor.evaluate(photos, split="test")
    assert dict(found.metrics) == dict(fitted.test)
    assert dict(fitted.predictor.evaluate(photos / "test").metrics) == dict(fitted.test)
    assert "16 of the 32 items are for training" in fitted.predictor.evaluate(photos).notes[0]


def test_a_damaged_image_is_named(photos, fitted, tmp_path):
    (tmp_path / "red").mkdir()
    (tmp_path / "red/1.png").write_text("x")
    with pytest.raises(DataError, match=r"red/1.png: cannot be read, nor can any other item"):
        fitted.predictor.evaluate(tmp_path)
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red/2.png")
    found = fitted.predictor.evaluate(tmp_path)
    assert (found.items, found.lost) == (1, ("red/1.png",))


def test_a_module_of_ones_own_is_measured_on_a_dataset():
    class First(torch.nn.Module):
        """Says the class that the items of `tiny_data` have by their largest input."""

        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(8, 3)

        def forward(self, x):
            return self.head(x.flatten(1)[:, :8])

    data = tiny_data()[1]
    predictor = Predictor(First().eval(), Task("single_label", ("0", "1", "2")), None)
    found = predictor.evaluate(data)
    with torch.no_grad():
        answers = predictor.module(torch.stack([data[place][0] for place in range(len(data))])).argmax(dim=1)
    right = [int(answer) == int(data[place][1]) for place, answer in enumerate(answers)]
    assert found.metrics["accuracy"] == pytest.approx(np.mean(right))
