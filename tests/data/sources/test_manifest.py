"""Manifests: CSV and parquet say the same, and every bad cell is named by its row."""

import numpy as np
import pandas as pd
import pytest

from autoft.errors import DataError


@pytest.fixture
def images(make_folder):
    """Twelve images img/000.png to img/011.png, and the folder that manifests lie in."""
    return make_folder({"img": 12})


def paths(count=12):
    return [f"img/{number:03}.png" for number in range(count)]


def write(root, columns, kind="csv"):
    frame = pd.DataFrame(columns)
    path = root / f"labels.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    return path


LABELS = ["cat", "dog"] * 6


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        pytest.param(LABELS, "single_label", id="names"),
        pytest.param([1, 10, 2] * 4, "single_label", id="integers"),
        pytest.param(["a;b", "b", "a"] * 4, "multi_label", id="several"),
        pytest.param([0.5 * number for number in range(12)], "regression", id="numbers"),
    ],
)
def test_csv_and_parquet_are_the_same_data(images, open_it, labels, task):
    columns = {"path": paths(), "label": labels}
    one, other = (open_it(write(images, columns, kind), task=task) for kind in ("csv", "parquet"))
    assert one.fingerprint == other.fingerprint
    assert one.splits == other.splits
    assert np.array_equal(one.targets, other.targets)
    assert one.task == other.task


def test_the_order_of_the_rows_does_not_matter(images, open_it):
    columns = pd.DataFrame({"path": paths(), "label": LABELS})
    one = open_it(write(images, columns))
    other = open_it(write(images, columns[::-1]))
    assert one.fingerprint == other.fingerprint
    assert one.splits == other.splits


def test_integers_are_classes_in_the_order_of_their_numbers(images, open_it):
    data = open_it(write(images, {"path": paths(), "label": [1, 10, 2] * 4}))
    assert data.task.classes == ("1", "2", "10")


def test_labels_stay_the_text_they_are(images, open_it):
    data = open_it(write(images, {"path": paths(), "label": ["NA", "None", "01"] * 4}))
    assert data.task.classes == ("01", "NA", "None")
    data = open_it(write(images, {"path": paths(), "label": ["1_1", "1_2", "--1"] * 4}))
    assert data.task.classes == ("--1", "1_1", "1_2")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_yes_and_no_are_classes_of_these_names(images, open_it, kind):
    data = open_it(write(images, {"path": paths(), "label": [True, False] * 6}, kind))
    assert data.task.classes == ("False", "True")


def test_several_labels_are_split_by_semicolons(images, open_it):
    data = open_it(write(images, {"path": paths(), "label": ["sun; sea", "sea", ""] * 4}), task="multi_label")
    assert data.task.classes == ("sea", "sun")
    assert data.targets.dtype == np.float32
    assert data.targets[:3].tolist() == [[1, 1], [1, 0], [0, 0]]
    assert any("4 items have no label and count as none" in note for note in data.notes)


def test_absolute_paths_and_a_manifest_elsewhere_work(images, open_it, tmp_path):
    elsewhere = tmp_path / "tables"
    elsewhere.mkdir()
    columns = {"path": [str(images / path) for path in paths()], "label": LABELS}
    assert len(open_it(write(elsewhere, columns))) == 12
    columns["path"] = [f"../photos/{path}" for path in paths()]
    assert len(open_it(write(elsewhere, columns))) == 12


def test_given_splits_are_honoured(images, open_it):
    split = ["train", "train", "Valid", "train", "test", "train"] * 2
    data = open_it(write(images, {"path": paths(), "label": LABELS, "split": split}))
    assert data.splits.val.tolist() == [2, 8]
    assert data.splits.test.tolist() == [4, 10]


def test_an_empty_split_column_is_none(images, open_it):
    assert len(open_it(write(images, {"path": paths(), "label": LABELS, "split": [""] * 12})).splits.val) > 0


def test_groups_stay_together(images, open_it):
    groups = ["a", "a", "b", "b", "c", "c", "d", "d", "e", "e", "", ""]
    data = open_it(write(images, {"path": paths(), "label": LABELS, "group": groups}))
    for part in (data.splits.train, data.splits.val, data.splits.test):
        for group in "abcde":
            members = {index for index, name in enumerate(groups) if name == group}
            assert not members & set(part.tolist()) or members <= set(part.tolist())
    assert len(set(data.groups[10:])) == 2, "rows without a group are groups of their own"


def test_a_missing_file_counts_as_corrupt(images, open_it):
    columns = {"path": [*paths(), "img/gone.png"], "label": [*LABELS, "cat"]}
    with pytest.raises(DataError, match=r"1 of 13 items cannot be read .*: img/gone.png; at most 1.0%"):
        open_it(write(images, columns))
    data = open_it(write(images, columns), allow_corrupt_fraction=0.1)
    assert len(data) == 12
    assert any("1 of 13 items cannot be read" in note and "left out" in note for note in data.notes)


@pytest.mark.parametrize(
    ("separator", "name"), [(";", "labels.csv"), ("\t", "labels.csv"), ("\t", "labels.tsv")], ids=repr
)
def test_cells_are_separated_by_what_separates_the_header(images, open_it, separator, name):
    columns = pd.DataFrame({"Path": paths(), "LABEL": LABELS, "group": ["a,b", "c,d", "e,f", "g,h"] * 3})
    columns.to_csv(images / name, sep=separator, index=False)
    data = open_it(images / name)
    assert data.task.classes == ("cat", "dog")
    assert set(data.groups) == {"group:a,b", "group:c,d", "group:e,f", "group:g,h"}


def test_lists_of_labels_are_the_labels_of_several_and_never_a_class(images, open_it):
    listed = write(images, {"path": paths(), "label": [["sun", "sea"], ["sea"], ["sun"]] * 4}, "parquet")
    data = open_it(listed, task="multi_label")
    assert data.task.classes == ("sea", "sun")
    assert data.targets[:2].tolist() == [[1, 1], [1, 0]]
    with pytest.raises(DataError, match=r"row 1 has a list of labels, but data\.task is single_label"):
        open_it(listed)


def test_labels_that_no_held_out_image_has_are_told(images, open_it):
    data = open_it(write(images, {"path": paths(), "label": ["a", "b;c", *["a;b"] * 10]}), task="multi_label")
    assert any("1 of 3 classes are missing from val: c" in note for note in data.notes)


BAD = {
    "no path column": (
        {"Pfad": paths(), "label": LABELS},
        r"has no column 'path' \(did you mean 'pfad'\?\); it has Pfad, label; the columns must be path and label",
    ),
    "no label column": ({"path": paths(), "labels": LABELS}, r"has no column 'label' \(did you mean 'labels'"),
    "a row without a label": (
        {"path": paths(), "label": [*LABELS[:4], None, *LABELS[5:]]},
        "1 of 12 rows have no label, the first is row 5; fill them in or remove",
    ),
    "a row without a path": ({"path": [*paths(11), ""], "label": LABELS}, "row 12 has no path"),
    "an unknown split": (
        {"path": paths(), "label": LABELS, "split": ["train"] * 11 + ["tets"]},
        r"row 12 has unknown split 'tets' \(did you mean 'test'\?\); it must be train, val or test",
    ),
    "a row without a split": (
        {"path": paths(), "label": LABELS, "split": ["train"] * 11 + [""]},
        "row 12 has no split; it must be",
    ),
    "no train": ({"path": paths(), "label": LABELS, "split": ["val"] * 12}, "there is val but no train"),
    "a path twice": ({"path": [*paths(11), "img/./000.png"], "label": LABELS}, "rows 1 and 12 have the same path"),
    "a column twice": ({"path": paths(), "label": LABELS, "Label": LABELS}, "has the column 'label' twice; keep one"),
    "paths from elsewhere": (
        {"path": [f"photos/{number}.png" for number in range(12)], "label": LABELS},
        "none of its 12 files exist, the first would be /.*; paths must be absolute, or relative to the table's folder",
    ),
    "paths of Windows": (
        {"path": [f"img\\{number:03}.png" for number in range(12)], "label": LABELS},
        "none of its 12 files exist, .*; write its paths with / instead of",
    ),
    "URLs": (
        {"path": [f"https://host/{number}.png" for number in range(12)], "label": LABELS},
        "none of its 12 files exist, .*; URLs are not fetched: download the images",
    ),
    "no rows": ({"path": [], "label": []}, "has no rows"),
    "numbers as classes": (
        {"path": paths(), "label": [0.5, 1.5] * 6},
        "floating point numbers .* set data.task=regression",
    ),
}


@pytest.mark.parametrize(("columns", "said"), BAD.values(), ids=BAD.keys())
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_bad_manifest_is_told_by_row(images, open_it, columns, said, kind):
    with pytest.raises(DataError, match=said):
        open_it(write(images, columns, kind))


@pytest.mark.parametrize("label", ["warm", "inf"])
def test_a_bad_number_is_told_by_row(images, open_it, label):
    path = write(images, {"path": paths()[::-1], "label": [1.5, label, *range(10)]})
    with pytest.raises(DataError, match=rf"row 2 \(img/010.png\) has the label '?{label}'?, which is not a number"):
        open_it(path, task="regression")


def test_equal_numbers_teach_nothing(images, open_it):
    with pytest.raises(DataError, match="all items have the same label 7"):
        open_it(write(images, {"path": paths(), "label": [7] * 12}), task="regression")


def test_equal_label_sets_teach_nothing(images, open_it):
    with pytest.raises(DataError, match="all items have the same labels"):
        open_it(write(images, {"path": paths(), "label": ["a;b"] * 12}), task="multi_label")


def test_a_misspelt_optional_column_is_told(images, open_it):
    data = open_it(write(images, {"path": paths(), "label": LABELS, "splits": ["train"] * 12, "size": [1] * 12}))
    assert [note for note in data.notes if "column" in note] == ["column 'splits' is not read (did you mean 'split'?)"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("x.csv", b"", id="an empty csv"),
        pytest.param("x.csv", b"path,label\na,b,c,d\n", id="a csv with too many cells"),
        pytest.param("x.csv", b"path,label\n\xff\xfe,b\n", id="a csv that is not UTF-8"),
        pytest.param("x.parquet", b"PAR1 nonsense", id="nonsense as parquet"),
    ],
)
def test_an_unreadable_table_is_told(tmp_path, open_it, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read as a table .*; give a CSV \(UTF-8\) or parquet file"):
        open_it(tmp_path / name)
