"""Arrays: what is an image, what is a tensor, and that files are not read as a whole."""

import pickle

import numpy as np
import pytest

from autoft.errors import DataError
from autoft.shards import ShardStore

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (12, 5, 7), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (12, 5, 7, 3), dtype=np.uint8)
TENSORS = RNG.random((12, 4, 3))
LABELS = np.arange(12) % 3


@pytest.fixture
def write(tmp_path):
    def write_(*, compress=False, **arrays):
        path = tmp_path / ("packed.npz" if compress else "arrays.npz")
        (np.savez_compressed if compress else np.savez)(path, **arrays)
        return path

    return write_


@pytest.mark.parametrize("images", [GREY, GREY[..., None], COLOUR], ids=["grey", "one channel", "colour"])
@pytest.mark.parametrize("names", [("x", "y"), ("images", "labels"), ("data", "targets")], ids=str)
def test_uint8_arrays_are_images(write, open_it, images, names):
    data = open_it(write(**dict(zip(names, (images, LABELS), strict=True))))
    assert data.spec.image
    assert data.read(np.array([0, 5]))["input"].shape == (2, 16, 16, 3)
    assert data.targets.tolist() == LABELS.tolist()
    assert data.task.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("dtype", "fed"),
    [("float64", "float32"), ("float32", "float32"), ("float16", "float32"), ("int64", "int64"), (">f4", "float32")],
)
def test_other_arrays_are_tensors(write, open_it, dtype, fed):
    tensors = (TENSORS * 10).astype(dtype)
    data = open_it(write(x=tensors, y=LABELS), image_size=None)
    assert not data.spec.image
    assert data.spec.fields["input"].shape == (4, 3)
    read = data.read(np.array([3, 1]))["input"].numpy()
    assert read.dtype.name == data.spec.fields["input"].dtype == fed
    assert np.array_equal(read, tensors[[3, 1]].astype(fed))


@pytest.mark.parametrize("images", [COLOUR, TENSORS], ids=["images", "tensors"])
def test_compressed_or_not_in_shards_or_not_the_data_are_the_same(write, open_it, tmp_path, images):
    stored = open_it(write(x=images, y=LABELS))
    fly = open_it(write(x=images, y=LABELS), store=ShardStore(tmp_path / "none", 0))
    packed = open_it(write(compress=True, x=images, y=LABELS))
    every = np.arange(12)
    assert stored.fingerprint == packed.fingerprint == fly.fingerprint
    for other in (packed, fly, pickle.loads(pickle.dumps(fly))):
        assert np.array_equal(other.read(every)["input"], stored.read(every)["input"])
    assert len(pickle.dumps(fly)) < 5000


def test_a_compressed_file_that_does_not_fit_the_cache_is_told(write, open_it, tmp_path):
    with pytest.raises(DataError, match=r"x.npy is compressed and does not fit .*; save it with numpy.savez"):
        open_it(write(compress=True, x=COLOUR, y=LABELS), store=ShardStore(tmp_path / "none", 0))


def test_given_splits_and_groups(write, open_it):
    data = open_it(
        write(
            x_train=COLOUR,
            y_train=LABELS,
            groups_train=np.arange(12)[:, None] // 2,
            x_test=COLOUR[:3],
            y_test=LABELS[:3],
            groups_test=[[7], [7], [7]],
        )
    )
    assert data.splits.plain()["test"] == ["test/000000", "test/000001", "test/000002"]
    assert {name.split("/")[0] for name in data.splits.plain()["val"]} == {"train"}


def test_text_labels_vectors_and_numbers(write, open_it):
    assert open_it(write(x=COLOUR, y=np.array(["b", "a"] * 6))).task.classes == ("a", "b")
    matrix = (RNG.random((12, 4)) < 0.5).astype(int)
    assert open_it(write(x=COLOUR, y=matrix), task="multi_label").targets.tolist() == matrix.tolist()
    assert open_it(write(x=COLOUR, y=np.array([["b"], ["a"]] * 6))).task.classes == ("a", "b")
    assert open_it(write(x=COLOUR, y=np.array([b"caf\xc3\xa9", b"bar"] * 6))).task.classes == ("bar", "café")
    numbers = RNG.random((12, 1))
    assert np.allclose(open_it(write(x=COLOUR, y=numbers), task="regression").targets, numbers[:, 0])


def test_an_item_that_is_not_finite_counts_as_corrupt(write, open_it):
    tensors = TENSORS.copy()
    tensors[4, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"1 of 12 items cannot be read .*000004"):
        open_it(write(x=tensors, y=LABELS))
    assert len(open_it(write(x=tensors, y=LABELS), allow_corrupt_fraction=0.1)) == 11


def test_arrays_that_are_not_read_are_told(write, open_it):
    assert "arrays that are not read: mean" in open_it(write(x=COLOUR, y=LABELS, mean=np.zeros(3))).notes


BAD = {
    "no inputs": ({"X": COLOUR, "y": LABELS}, "has no array 'x'.*it has X, y; inputs are called x, images, data"),
    "no labels": ({"x": COLOUR, "label": LABELS}, "has no array 'y'"),
    "labels of one split": ({"x_train": COLOUR, "y_train": LABELS, "x_val": COLOUR}, "has no array 'y_val'"),
    "two inputs": ({"x": COLOUR, "data": COLOUR, "y": LABELS}, "has both x and data; keep one"),
    "another number of labels": ({"x": COLOUR, "y": LABELS[:5]}, "5 rows; there must be one row per item"),
    "channels first": ({"x": COLOUR.transpose(0, 3, 1, 2), "y": LABELS}, r"must be \(N, H, W\).*transpose them"),
    "flat bytes": ({"x": GREY.reshape(12, -1), "y": LABELS}, r"got \(N, 35\)"),
    "texts as inputs": ({"x": np.array(["a"] * 12), "y": LABELS}, "they must be numbers"),
    "objects": ({"x": COLOUR, "y": np.array([1, "a"] * 6, dtype=object)}, "cannot be read as a .npz file .*bject"),
    "objects as inputs": ({"x": np.array([None] * 12), "y": LABELS}, "Python objects"),
    "fortran order": ({"x": np.asfortranarray(TENSORS), "y": LABELS}, "Fortran order; save numpy.ascontiguousarray"),
    "no items": ({"x": COLOUR[:0], "y": LABELS[:0]}, "has no items"),
    "one value": ({"x": COLOUR, "y": np.array(3)}, "is a single value"),
    "only val": ({"x_val": COLOUR, "y_val": LABELS}, "there is val but no train"),
    "unequal types": (
        {"x_train": COLOUR, "y_train": LABELS, "x_val": TENSORS, "y_val": LABELS},
        "inputs are of several types",
    ),
    "floats as classes": ({"x": COLOUR, "y": LABELS + 0.5}, "set data.task=regression"),
    "vectors as classes": ({"x": COLOUR, "y": np.eye(12)}, "set data.task=multi_label"),
    "labels of two shapes": (
        {"x_train": COLOUR, "y_train": LABELS, "x_val": COLOUR, "y_val": LABELS[:, None]},
        r"labels differ in shape \(\(\), \(1,\)\)",
    ),
    "groups of several columns": (
        {"x": COLOUR, "y": LABELS, "groups": np.ones((12, 2))},
        r"groups have shape \(12, 2\); there must be one per item",
    ),
    "one class": ({"x": COLOUR, "y": LABELS * 0}, r"one class only \(0\)"),
}


@pytest.mark.parametrize(("arrays", "said"), BAD.values(), ids=BAD.keys())
def test_bad_arrays_are_told(write, open_it, arrays, said):
    with pytest.raises(DataError, match=said):
        open_it(write(**arrays))


def test_what_is_no_npz_is_told(tmp_path, open_it):
    (tmp_path / "x.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"cannot be read as a .npz file"):
        open_it(tmp_path / "x.npz")


def test_labels_of_a_multi_label_task_are_zeros_and_ones(write, open_it):
    with pytest.raises(DataError, match="must be 0 or 1"):
        open_it(write(x=COLOUR, y=np.full((12, 2), 2)), task="multi_label")


def test_classes_of_bytes_that_are_no_utf_8_stay_apart(write, open_it):
    data = open_it(write(x=COLOUR, y=np.array([b"caf\xe9", b"caf\xe8", "é".encode()] * 4)))
    assert data.task.classes == ("caf\\xe8", "caf\\xe9", "é")
