"""Image folders, as people really have them."""

import os

import numpy as np
import pytest

from autoft.data import Splits
from autoft.errors import DataError


def split_of(data):
    """Name to split, from what a person reads in split.json."""
    plain = data.splits.plain()
    return {name: split for split in ("train", "val", "test") for name in plain[split]}


def test_class_folders_are_classes_in_the_order_of_their_names(make_folder, open_it):
    data = open_it(make_folder({"dog": 6, "cat": 5, "10": 4, "9": 4}))
    assert data.task.classes == ("10", "9", "cat", "dog")
    assert data.names == tuple(sorted(data.names))
    labels = {name: data.task.classes[label] for name, label in zip(data.names, data.targets, strict=True)}
    assert all(name.split("/")[0] == label for name, label in labels.items())
    assert data.name == "photos"


def test_items_are_in_the_order_of_their_names_which_split_json_relies_on(make_folder, open_it):
    data = open_it(make_folder({"cat": 4, "cat-2": 4, "cat 3": 4}))
    assert data.names == tuple(sorted(data.names))
    assert data.names[0].startswith("cat 3/")
    assert Splits.from_plain(data.splits.plain()) == data.splits
    assert np.array_equal(Splits.from_plain(data.splits.plain()).val, data.splits.val)


def test_images_lie_at_any_depth_and_with_any_extension_in_any_case(make_folder, open_it):
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat" / "deep" / "deeper").mkdir(parents=True)
    (root / "cat" / "000.png").rename(root / "cat" / "deep" / "deeper" / "x.PNG")
    (root / "dog" / "000.png").rename(root / "dog" / "odd name ü.png")
    data = open_it(root)
    assert {"cat/deep/deeper/x.PNG", "dog/odd name ü.png"} <= set(data.names)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "bmp", "gif", "webp", "tif", "tiff"])
def test_every_extension_is_read(make_folder, open_it, suffix):
    assert len(open_it(make_folder({"a": 3, "b": 3}, suffix=suffix))) == 6


def test_what_is_hidden_or_no_image_is_left_out_and_told(make_folder, open_it):
    root = make_folder({"cat": 3, "dog": 3, "empty": 0, ".hidden": 2})
    (root / "cat" / ".DS_Store").write_text("x")
    (root / "cat" / "notes.txt").write_text("x")
    (root / "Thumbs.db").write_text("x")
    (root / "loose.png").hardlink_to(root / "cat" / "000.png")
    data = open_it(root)
    assert len(data) == 6
    assert data.task.classes == ("cat", "dog")
    told = " | ".join(data.notes)
    assert "2 files are no images by their extension (.db, .txt)" in told
    assert "2 hidden files" in told
    assert "1 images lie in no class folder (loose.png)" in told
    assert "1 folders hold no images (empty)" in told


def test_links_are_followed_but_not_in_circles(make_folder, open_it):
    root = make_folder({"cat": 3, "dog": 3})
    (root / "cat" / "self").symlink_to(root / "cat")
    (root / "bird").symlink_to(make_folder({"x": 4}, name="elsewhere") / "x")
    data = open_it(root)
    assert data.task.classes == ("bird", "cat", "dog")
    assert len(data) == 10


@pytest.mark.parametrize("val", ["val", "valid", "validation", "Val"])
def test_split_folders_are_honoured_and_a_class_may_be_missing_from_val_or_test(make_folder, open_it, val):
    root = make_folder({"train/cat": 5, "train/dog": 5, f"{val}/cat": 2, "test/dog": 3})
    data = open_it(root)
    assert split_of(data) == {
        name: {"train": "train", val: "val", "test": "test"}[name.split("/")[0]] for name in data.names
    }
    assert data.task.classes == ("cat", "dog")
    assert any("1 of 2 classes are missing from val: dog" in note for note in data.notes)
    assert any("1 of 2 classes are missing from test: cat" in note for note in data.notes)


def test_missing_split_folders_are_drawn_from_train(make_folder, open_it):
    data = open_it(make_folder({"train/cat": 10, "train/dog": 10, "test/cat": 2, "test/dog": 2}))
    places = split_of(data)
    assert {places[name] for name in data.names if name.startswith("test/")} == {"test"}
    assert len(data.splits.val) == 4
    assert {name.split("/")[0] for name in data.splits.plain()["val"]} == {"train"}


def test_a_lone_folder_called_train_beside_others_is_a_class(make_folder, open_it):
    assert open_it(make_folder({"train": 4, "bus": 4, "car": 4})).task.classes == ("bus", "car", "train")


def test_a_folder_without_images_beside_split_folders_is_of_no_interest(make_folder, open_it):
    root = make_folder({"train/cat": 5, "train/dog": 5, "val/cat": 2, "val/dog": 2, "annotations": 0})
    assert len(open_it(root).splits.val) == 4


BAD = {
    "an empty folder": ({}, "is empty; it has no images; give a folder with one folder of images"),
    "empty class folders": ({"cat": 0, "dog": 0}, "no images; give a folder"),
    "one class only": ({"cat": 5}, r"there is one class only \(cat\); at least two are needed"),
    "a folder around the classes": (
        {"photos/cat": 3, "photos/dog": 3},
        r"one class folder only, photos, and in it the folders cat, dog; where these .* give .*/photos/photos$",
    ),
    "a class with one image": (
        {"cat": 5, "dog": 1},
        "class 'dog' has 1 item, but each class needs at least 3 to be split into train, val, test; add items",
    ),
    "a class with two images": ({"cat": 5, "dog": 2}, "needs at least 3 .* or set data.test_fraction=0"),
    "images without class folders": ({".": 4}, "4 images lie directly in the folder; put them into one folder per"),
    "no train folder": ({"val/a": 2, "test/b": 2}, "has val, test but no train folder|has test, val but no train"),
    "two val folders": ({"train/a": 3, "val/a": 2, "valid/a": 1}, "val and valid are both the val split"),
    "classes beside splits": ({"train/a": 3, "val/a": 2, "dog": 1}, r"class folders \(dog\) lie beside the split"),
    "a class that is not in train": (
        {"train/a": 3, "train/b": 3, "val/c": 2},
        "class 'c' is in val or test but not in",
    ),
}


@pytest.mark.parametrize(("counts", "said"), BAD.values(), ids=BAD.keys())
def test_a_folder_that_cannot_be_used_is_told_why(tmp_path, make_folder, open_it, counts, said):
    if "." in counts:
        root = make_folder({"x": counts["."]})
        for path in list((root / "x").iterdir()):
            path.rename(root / path.name)
        (root / "x").rmdir()
    else:
        root = make_folder(counts)
    with pytest.raises(DataError, match=said):
        open_it(root)


def test_two_items_a_class_are_enough_without_a_test_split(make_folder, open_it):
    data = open_it(make_folder({"cat": 2, "dog": 2}), test_fraction=0.0)
    assert sorted(data.targets[data.splits.val].tolist()) == [0, 1]
    assert any("no test split" in note and "chosen on the same images" in note for note in data.notes)


@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_class_folders_cannot_pose_another_task(make_folder, open_it, task):
    with pytest.raises(DataError, match=f"data.task is {task}; use a CSV manifest"):
        open_it(make_folder({"a": 3, "b": 3}), task=task)


def test_images_need_a_size(make_folder, open_it):
    with pytest.raises(DataError, match=r"images need a size; set data.image_size"):
        open_it(make_folder({"a": 3, "b": 3}), image_size=None)


def test_nothing_depends_on_the_order_of_the_file_system_or_on_where_the_folder_lies(
    make_folder, open_it, monkeypatch, tmp_path
):
    first = open_it(make_folder({"a": 8, "b": 8}))
    listdir, scandir = os.listdir, os.scandir
    monkeypatch.setattr(os, "listdir", lambda path: sorted(listdir(path), reverse=True))
    (tmp_path / "photos").rename(tmp_path / "moved")

    class Backwards:
        def __init__(self, path):
            self.entries = scandir(path)

        def __enter__(self):
            return reversed(list(self.entries))

        def __exit__(self, *_):
            self.entries.close()

    monkeypatch.setattr(os, "scandir", Backwards)
    second = open_it(tmp_path / "moved")
    assert second.fingerprint == first.fingerprint
    assert second.splits == first.splits
    assert np.array_equal(second.targets, first.targets)
