"""Pairs and triples of torch Datasets."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from autoft.errors import DataError
from autoft.shards import ShardStore

LABELS = torch.arange(12) % 3


class Listed(Dataset):
    """Items of a list; a function of the index where one is given."""

    def __init__(self, items, classes=None):
        self.items = items
        if classes:
            self.classes = classes

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        item = self.items[index]
        if isinstance(item, Exception):
            raise item
        return item() if callable(item) else item


def pixels(seed, shape=(6, 8, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def of(make, count=12, offset=0):
    return Listed([(make(number + offset), int(LABELS[number % 12])) for number in range(count)])


INPUTS = {
    "PIL images": lambda seed: Image.fromarray(pixels(seed)),
    "uint8 (C, H, W)": lambda seed: torch.from_numpy(pixels(seed).transpose(2, 0, 1).copy()),
    "uint8 (H, W, C)": lambda seed: torch.from_numpy(pixels(seed)),
    "uint8 arrays": pixels,
}


def test_every_way_to_hold_an_image_gives_the_same_pixels(open_it):
    read = [
        open_it((of(make), of(make, 3, offset=50))).read(np.arange(15))["input"].numpy() for make in INPUTS.values()
    ]
    assert read[0].shape == (15, 16, 16, 3)
    assert all(np.array_equal(read[0], other) for other in read[1:])


def test_grey_images_and_images_of_several_sizes(open_it):
    items = [(torch.from_numpy(pixels(number, (1, 5 + number, 7))), number % 2) for number in range(8)]
    data = open_it((Listed(items), Listed(items[:2])))
    assert data.spec.image
    assert data.read(np.array([0]))["input"].shape == (1, 16, 16, 3)


def test_a_pair_is_train_and_val_and_the_test_split_is_drawn_from_train(open_it):
    data = open_it((TensorDataset(torch.randn(12, 4), LABELS), TensorDataset(torch.randn(6, 4), LABELS[:6])))
    plain = data.splits.plain()
    assert {name.split("/")[0] for name in plain["val"]} == {"val"}
    assert {name.split("/")[0] for name in plain["train"] + plain["test"]} == {"train"}
    assert len(plain["test"]) == 3
    assert data.name == "TensorDataset"


def test_a_triple_is_train_val_and_test(open_it):
    datasets = [TensorDataset(torch.randn(count, 4), LABELS[:count]) for count in (12, 6, 3)]
    data = open_it(datasets)
    assert [len(part) for part in (data.splits.train, data.splits.val, data.splits.test)] == [12, 6, 3]
    inputs = torch.cat([datasets[2].tensors[0], datasets[0].tensors[0], datasets[1].tensors[0]])
    assert torch.equal(data.read(np.arange(21))["input"], inputs)


def test_dicts_of_tensors_keep_their_names_and_types(open_it):
    def make(seed):
        generator = torch.Generator().manual_seed(seed)
        return {
            "input_ids": torch.randint(0, 9, (5,), generator=generator),
            "attention_mask": torch.ones(5, dtype=torch.bool),
            "weight": torch.rand((), generator=generator, dtype=torch.float64).bfloat16(),
        }

    data = open_it((of(make), of(make, 3, offset=50)), image_size=None)
    assert not data.spec.image
    read = data.read(np.array([4]))
    assert {name: (spec.shape, spec.dtype) for name, spec in data.spec.fields.items()} == {
        "input_ids": ((5,), "int64"),
        "attention_mask": ((5,), "bool"),
        "weight": ((), "float32"),
    }
    assert torch.equal(read["input_ids"][0], make(4)["input_ids"])
    assert read["attention_mask"].dtype == torch.bool


TARGETS = {
    "int": (lambda n: n % 3, "single_label", "int64"),
    "scalar tensor": (lambda n: torch.tensor(n % 3), "single_label", "int64"),
    "numpy integer": (lambda n: np.int32(n % 3), "single_label", "int64"),
    "text": (lambda n: "abc"[n % 3], "single_label", "int64"),
    "multi-hot tensor": (lambda n: torch.tensor([n % 2, n % 3 == 0, 1]).float(), "multi_label", "float32"),
    "list": (lambda n: [n % 2, 1 - n % 2], "multi_label", "float32"),
    "float": (lambda n: n / 3, "regression", "float32"),
    "float tensor": (lambda n: torch.tensor([n / 3]), "regression", "float32"),
}


@pytest.mark.parametrize(("make", "task", "dtype"), TARGETS.values(), ids=TARGETS.keys())
def test_targets_of_every_task(open_it, make, task, dtype):
    dataset = Listed([(torch.full((2,), float(number)), make(number)) for number in range(12)])
    data = open_it((dataset, dataset), task=task)
    assert data.targets.dtype.name == dtype
    assert len(data.targets) == 24
    if task == "single_label":
        assert data.targets[:4].tolist() == [0, 1, 2, 0]


def test_class_names_come_from_the_dataset_and_outputs_keep_their_meaning(open_it):
    items = [(torch.full((2,), float(number)), [0, 3][number % 2]) for number in range(12)]
    named = open_it((Listed(items, classes=["a", "b", "c", "d"]), Listed(items)))
    assert named.task.classes == ("a", "b", "c", "d")
    assert set(named.targets.tolist()) == {0, 3}
    bare = open_it((Listed(items), Listed(items)))
    assert bare.task.classes == ("0", "3")
    assert any("class numbers are not 0 to 1: the outputs stand for 0, 3" in note for note in bare.notes)


@pytest.mark.parametrize("budget", [10**8, 0], ids=["in shards", "on the fly"])
def test_a_dataset_that_is_random_is_refused(open_it, tmp_path, budget):
    generator = torch.Generator().manual_seed(0)
    noisy = Listed([(lambda number=number: (torch.rand(3, generator=generator), number % 2)) for number in range(12)])
    with pytest.raises(
        DataError, match=r"000000: the Dataset gives another value each time .* use data.augment instead"
    ):
        open_it((noisy, noisy), store=ShardStore(tmp_path / "other", budget))


def test_items_on_the_fly_are_those_in_shards_also_after_pickling(open_it, tmp_path):
    pair = (TensorDataset(torch.randn(12, 4), LABELS), TensorDataset(torch.randn(6, 4), LABELS[:6]))
    stored, fly = open_it(pair), open_it(pair, store=ShardStore(tmp_path / "none", 0))
    every = np.arange(18)
    assert torch.equal(stored.read(every)["input"], fly.read(every)["input"])
    assert torch.equal(pickle.loads(pickle.dumps(fly)).read(every)["input"], fly.read(every)["input"])
    assert stored.splits == fly.splits


def test_an_image_that_cannot_be_opened_counts_as_corrupt(open_it):
    items = [(torch.full((2,), float(number)), number % 2) for number in range(12)]
    items[3] = OSError("truncated")
    with pytest.raises(DataError, match=r"1 of 24 items cannot be read .*train/000003"):
        open_it((Listed(items), Listed(items[4:] + items[4:8])))
    data = open_it((Listed(items), Listed(items[4:])), allow_corrupt_fraction=0.1)
    assert len(data) == 11 + 8


def test_an_error_in_the_dataset_itself_is_not_hidden(open_it):
    items = [(torch.zeros(2), 0), ZeroDivisionError("a\nbug")]
    told = r"^train/000001: the Dataset raised ZeroDivisionError: a bug for item 1; mend its __getitem__"
    with pytest.raises(DataError, match=told) as error:
        open_it((Listed(items), Listed(items)))
    assert error.value.__cause__ is items[1]


def test_an_error_in_the_length_of_a_dataset_is_told(open_it):
    with pytest.raises(DataError, match=r"the val Dataset raised TypeError: .* in __len__; mend it"):
        open_it((GOOD, Listed(5)))


def test_an_error_that_comes_later_names_the_item_too(open_it, tmp_path):
    items = list(GOOD.items)
    data = open_it((Listed(items), GOOD), store=ShardStore(tmp_path / "none", 0))
    items[2] = KeyError("gone")
    with pytest.raises(DataError, match="train/000002: the Dataset raised KeyError: 'gone' for item 2"):
        data.read(np.arange(len(data)))


class Stream(IterableDataset):
    def __iter__(self):
        yield torch.zeros(2), 0


GOOD = Listed([(torch.full((2,), float(number)), number % 2) for number in range(12)])

BAD = {
    "a stream": ((Stream(), GOOD), "the train data are a Stream, not a map-style Dataset"),
    "nothing like a Dataset": ((GOOD, 5), "the val data are a int, not a map-style Dataset"),
    "one of them": ((GOOD,), r"a pair \(train, val\) or triple .* got 1 of them"),
    "an empty one": ((GOOD, Listed([])), "the val Dataset is empty"),
    "items that are no pairs": ((GOOD, Listed([torch.zeros(2)])), r"val/000000: a Dataset must give pairs"),
    "unequal shapes": (
        (GOOD, Listed([(torch.zeros(3), 0)])),
        r"val/000000: its input is input: float32 \(3,\), but that of the first item input: float32 \(2,\)",
    ),
    "inputs that are no tensors": ((GOOD, Listed([("text", 0)])), "val/000000: an input must be a tensor .* got str"),
    "complex numbers": ((GOOD, Listed([(torch.zeros(2) * 1j, 0)])), "got an array of complex64"),
    "targets that are nothing": (
        (GOOD, Listed([(torch.zeros(2), None)])),
        "val/000000: a target must be .* got NoneType",
    ),
    "targets of several shapes": ((GOOD, Listed([(torch.zeros(2), [1, 0])])), "targets differ in shape"),
    "uint8 that is no image": (
        (Listed([(torch.zeros(4, 5, 6, dtype=torch.uint8), 0)]), GOOD),
        r"a uint8 input is an image and must be .* got \(4, 5, 6\)",
    ),
    "a class that is not in train": (
        (GOOD, Listed([(torch.zeros(2), 7)])),
        "class '7' is in val or test but not in train",
    ),
}


@pytest.mark.parametrize(("datasets", "said"), BAD.values(), ids=BAD.keys())
def test_bad_datasets_are_told(open_it, datasets, said):
    with pytest.raises(DataError, match=said):
        open_it(datasets)
