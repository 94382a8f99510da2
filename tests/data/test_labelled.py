"""Labels of a data set that a model was not made from are numbered as the model's outputs are."""

import numpy as np
import pytest
from PIL import Image

from autoft.data import Task
from autoft.data.decode import Frame
from autoft.data.labelled import Origins, labelled
from autoft.data.labels import read_labels
from autoft.data.open import fingerprint
from autoft.data.sources import list_items
from autoft.errors import DataError, UnknownNameError
from autoft.shards import ShardStore

FRAME = Frame(8, "squash")
PETS = Task("single_label", ("cat", "cow", "dog"))
MANY = Task("multi_label", ("cat", "cow", "dog"))


def images(folder, counts):
    """``counts`` images in each of the folders."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / name / f"{number}.png")
    return folder


def manifest(folder, rows):
    (folder / "rows.csv").write_text("\n".join(",".join(row) for row in rows) + "\n")
    return folder / "rows.csv"


def test_classes_are_matched_by_name_whichever_occur(tmp_path):
    found = labelled(images(tmp_path, {"dog": 2, "cat": 1}), PETS, FRAME)
    assert found.names == ("cat/0.png", "dog/0.png", "dog/1.png")
    assert found.targets.tolist() == [0, 2, 2]
    assert found.read(2)["input"][0, 0].tolist() == [1, 0, 0]
    assert found.notes == ()


def test_a_single_class_and_a_single_item_are_enough(tmp_path):
    assert labelled(images(tmp_path, {"cow": 1}), PETS, FRAME).targets.tolist() == [1]


def test_a_class_that_the_model_does_not_know_is_told_with_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match=r"the class 'dogs' is none of the model's \(cat, .*mean 'dog'"):
        labelled(images(tmp_path, {"cat": 1, "dogs": 1}), PETS, FRAME)


def test_numbers_without_names_are_the_numbers_of_the_outputs(tmp_path):
    x = np.zeros((3, 4), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.array([2, 0, 2]))
    assert labelled(tmp_path / "x.npz", PETS, None).targets.tolist() == [2, 0, 2]
    with pytest.raises(DataError, match="class number 2, but the model has 2 classes, 0 to 1"):
        labelled(tmp_path / "x.npz", Task("single_label", ("a", "b")), None)


def test_but_where_the_classes_are_numbers_they_are_names(tmp_path):
    x = np.zeros((3, 4), dtype=np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.array([7, 3, 7]))
    assert labelled(tmp_path / "x.npz", Task("single_label", ("3", "5", "7")), None).targets.tolist() == [2, 0, 2]


def test_several_labels_are_matched_by_name_too(tmp_path):
    images(tmp_path, {"all": 3})
    rows = [("path", "label"), ("all/0.png", "dog;cat"), ("all/1.png", "cow"), ("all/2.png", "dog")]
    found = labelled(manifest(tmp_path, rows), MANY, FRAME)
    assert found.targets.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(UnknownNameError, match="'cow' is none of the model's"):
        labelled(manifest(tmp_path, rows), Task("multi_label", ("cat", "dog")), FRAME)


def test_a_matrix_of_labels_is_taken_as_the_outputs_stand(tmp_path):
    y = np.array([[0, 1, 1], [0, 0, 0]])
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 4), dtype=np.float32), y=y)
    assert labelled(tmp_path / "x.npz", MANY, None).targets.tolist() == y.tolist()


def test_the_number_of_a_regression_may_be_the_same_for_all(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((2, 4), dtype=np.float32), y=np.array([1.5, 1.5]))
    assert labelled(tmp_path / "x.npz", Task("regression"), None).targets.tolist() == [1.5, 1.5]


def test_a_dataset_alone_and_a_list_of_pairs(tmp_path):
    pairs = [(np.full(4, place, dtype=np.float32), place) for place in (1, 0)]
    found = labelled(pairs, PETS, None)
    assert found.targets.tolist() == [1, 0]
    assert found.read(0)["input"].tolist() == [1, 1, 1, 1]
    assert not found.parallel
    with pytest.raises(DataError, match=r"one map-style Dataset of .*got tuple"):
        labelled((pairs, pairs), PETS, None)
    with pytest.raises(DataError, match=r"the only Dataset is empty; give at least one item$"):
        labelled([], PETS, None)


def test_splits_are_chosen_and_training_items_told(tmp_path):
    images(tmp_path, {"all": 3})
    rows = [("path", "label", "split"), ("all/0.png", "cat", "train"), ("all/1.png", "dog", "test")]
    path = manifest(tmp_path, [*rows, ("all/2.png", "dog", "valid")])
    assert labelled(path, PETS, FRAME, split="test").names == ("all/1.png",)
    assert labelled(path, PETS, FRAME, split="validation").names == ("all/2.png",)
    assert labelled(path, PETS, FRAME, split="test").notes == ()
    (note,) = labelled(path, PETS, FRAME).notes
    assert "1 of the 3 items are for training" in note
    with pytest.raises(UnknownNameError, match=r"split 'tset' is none of train, val and test .*'test'"):
        labelled(path, PETS, FRAME, split="tset")


def test_a_manifest_of_test_items_alone_will_do(tmp_path):
    images(tmp_path, {"all": 1})
    path = manifest(tmp_path, [("path", "label", "split"), ("all/0.png", "cat", "test")])
    assert labelled(path, PETS, FRAME).targets.tolist() == [0]
    with pytest.raises(DataError, match="has no items in val; it has test"):
        labelled(path, PETS, FRAME, split="val")


def test_the_models_own_data_have_the_splits_that_were_drawn(tmp_path):
    folder = images(tmp_path / "pets", {"cat": 2, "dog": 1})
    with pytest.raises(DataError, match="says of no item in which split it is"):
        labelled(folder, PETS, FRAME, split="test")
    listing = list_items(folder, FRAME, kind="single_label", store=ShardStore(tmp_path / "cache", 0))
    print_ = fingerprint(listing, read_labels(listing, "single_label"), "single_label")
    made_from = Origins(print_, {"cat/0.png": "train", "cat/1.png": "test", "dog/0.png": "val"})
    assert labelled(folder, PETS, FRAME, split="test", made_from=made_from).names == ("cat/1.png",)
    (note,) = labelled(folder, PETS, FRAME, made_from=made_from).notes
    assert "the data that the model was made from" in note
    Image.new("RGB", (8, 8), "white").save(folder / "dog/1.png")  # other data now
    assert labelled(folder, PETS, FRAME, made_from=made_from).notes == ()


@pytest.mark.parametrize(
    ("image", "frame", "told"),
    [(True, None, "the model takes tensors"), (False, FRAME, "holds tensors, but the model takes images")],
)
def test_images_for_a_model_of_tensors_and_the_other_way_round(tmp_path, image, frame, told):
    source = images(tmp_path / "pets", {"cat": 1}) if image else [(np.zeros(4, dtype=np.float32), 0)]
    with pytest.raises(DataError, match=told):
        labelled(source, PETS, frame)
