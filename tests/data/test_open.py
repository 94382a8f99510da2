"""Opening data as a whole: what is kept, what is told, and that nothing large stays in private memory."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

from autoft.data.items import OnTheFly, Stored
from autoft.errors import ConfigError, DataError, UnknownNameError
from autoft.shards import ShardStore


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_sharded_read_and_one_on_the_fly_give_the_same_bits(make_folder, open_it, tmp_path, resize):
    root = make_folder({"a": 6, "b": 6}, suffix="jpg")
    stored = open_it(root, resize=resize)
    fly = open_it(root, resize=resize, store=ShardStore(tmp_path / "small", 500))
    assert isinstance(stored.items, Stored)
    assert isinstance(fly.items, OnTheFly)
    for indices in (np.arange(12), np.array([7, 1, 7]), np.array([], dtype=np.int64)):
        one, other, sent = (data.read(indices)["input"] for data in (stored, fly, pickle.loads(pickle.dumps(fly))))
        assert one.shape == (len(indices), 16, 16, 3)
        assert np.array_equal(one, other)
        assert np.array_equal(one, sent)
    assert (stored.fingerprint, stored.splits, stored.notes) == (fly.fingerprint, fly.splits, fly.notes)


def test_items_are_decoded_once_and_by_size_and_way_of_resizing(make_folder, open_it, monkeypatch):
    root = make_folder({"a": 6, "b": 6})
    whole, middle = open_it(root), open_it(root, resize="crop")
    assert not np.array_equal(whole.read(np.arange(12))["input"], middle.read(np.arange(12))["input"])
    with monkeypatch.context() as patch:
        patch.setattr("autoft.data.sources.files.decode", lambda *_: pytest.fail("decoded already"))
        told = []
        open_it(root, seed=7, val_fraction=0.3, notify=told.append)
        assert told == []
        open_it(root, resize="crop")
        with pytest.raises(pytest.fail.Exception):
            open_it(root, image_size=17)


def test_the_fingerprint_says_what_the_data_are(make_folder, open_it):
    root = make_folder({"a": 6, "b": 6})
    same = {open_it(root).fingerprint, open_it(root, seed=3, image_size=20, val_fraction=0.4).fingerprint}
    assert len(same) == 1
    assert all(len(fingerprint) == 16 for fingerprint in same)
    (root / "a" / "000.png").rename(root / "b" / "100.png")
    moved = open_it(root).fingerprint
    (root / "a" / "001.png").write_bytes((root / "a" / "002.png").read_bytes())
    changed = open_it(root).fingerprint
    assert len({*same, moved, changed}) == 3


def test_the_content_says_what_the_pixels_are_whatever_the_labels_and_splits(make_folder, open_it):
    root = make_folder({"a": 6, "b": 6})
    whole = open_it(root).content
    assert whole
    assert open_it(root, seed=3, val_fraction=0.4).content == whole
    others = {open_it(root, image_size=20).content, open_it(root, resize="crop").content}
    (root / "b" / "005.png").rename(root / "b" / "000.png.png")
    (root / "a" / "001.png").write_bytes((root / "a" / "002.png").read_bytes())
    assert len({whole, *others, open_it(root).content}) == 4


def test_a_handle_is_small_and_reads_what_the_first_one_reads(make_folder, open_it):
    data = open_it(make_folder({"a": 20, "b": 20}))
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    again = pickle.loads(sent)
    assert np.array_equal(again.read(np.arange(40))["input"], data.read(np.arange(40))["input"])
    assert (again.task, again.spec, again.splits, again.names) == (data.task, data.spec, data.splits, data.names)


@pytest.mark.parametrize("budget", [10**8, 500, 0])
def test_corrupt_images_are_named_and_counted(make_folder, open_it, tmp_path, budget):
    root = make_folder({"a": 50, "b": 50})
    (root / "a" / "003.png").write_bytes(b"")
    store = ShardStore(tmp_path / "other", budget)
    data = open_it(root, store=store)
    assert len(data) == 99
    assert "a/003.png" not in data.names
    assert [note for note in data.notes if "cannot be read" in note] == [
        "1 of 100 items cannot be read (missing, empty, damaged or no image): a/003.png; left out"
    ]
    whole = (root / "b" / "007.png").read_bytes()
    (root / "b" / "007.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"2 of 100 items .*: a/003.png, b/007.png; at most 1.0% .* to 0.021 or more"):
        open_it(root, store=store)
    assert len(open_it(root, store=store, allow_corrupt_fraction=0.021)) == 98


def test_what_is_read_is_the_right_item_when_others_are_left_out(make_folder, open_it, tmp_path):
    root = make_folder({"a": 5, "b": 5})
    before = open_it(root)
    (root / "a" / "003.png").write_bytes(b"")
    for store in (ShardStore(tmp_path / "one", 10**8), ShardStore(tmp_path / "two", 0)):
        after = open_it(root, allow_corrupt_fraction=0.5, store=store)
        kept = np.array([before.names.index(name) for name in after.names])
        assert np.array_equal(after.read(np.arange(9))["input"], before.read(kept)["input"])
        assert np.array_equal(after.targets, before.targets[kept])


def test_a_class_whose_images_are_all_corrupt_is_told(make_folder, open_it):
    root = make_folder({"a": 5, "b": 5, "c": 3})
    for number in range(2):
        (root / "c" / f"{number:03}.png").write_bytes(b"")
    with pytest.raises(DataError, match="class 'c' has 1 item"):
        open_it(root, allow_corrupt_fraction=0.5)
    (root / "c" / "002.png").write_bytes(b"")
    with pytest.raises(DataError, match="class 'c' has no item left that can be read"):
        open_it(root, allow_corrupt_fraction=0.5)


def test_a_file_that_vanishes_later_is_named(make_folder, open_it, tmp_path):
    root = make_folder({"a": 3, "b": 3})
    fly = open_it(root, store=ShardStore(tmp_path / "small", 0))
    (root / "a" / "001.png").unlink()
    with pytest.raises(DataError, match=r"a/001.png: could be read before, but no longer"):
        fly.read(np.arange(6))


def test_a_split_of_a_few_items_or_of_one_class_is_told(make_folder, open_it):
    notes = open_it(make_folder({"a": 5, "b": 5})).notes
    assert "val has 2 items, so what it says is mostly luck; give it more" in notes
    given = make_folder({"train/a": 6, "train/b": 6, "val/a": 6}, name="given")
    assert any("missing from val: b, so that val cannot tell one model" in note for note in open_it(given).notes)


def test_imbalance_is_told_with_the_metric_it_calls_for(make_folder, open_it):
    notes = open_it(make_folder({"rare": 3, "common": 31})).notes
    assert any("imbalance below 1:10: class 'rare' has 3 items, 'common' has 31" in note for note in notes)
    assert any("judge by balanced_accuracy or macro_f1" in note for note in notes)
    assert not open_it(make_folder({"rare": 3, "common": 30}, name="other")).notes


def test_classes_that_are_nearly_the_same_are_told(make_folder, open_it):
    notes = open_it(make_folder({"Cat": 3, "cat": 3, "dog": 3, "1": 3, "001": 3})).notes
    assert any("leading zeros: '001' and '1', 'Cat' and 'cat'" in note for note in notes)


def test_copies_of_training_images_among_the_held_out_are_told(make_folder, open_it):
    root = make_folder({"train/a": 4, "train/b": 4, "test/a": 2, "test/b": 2})
    (root / "test" / "a" / "000.png").write_bytes((root / "train" / "a" / "002.png").read_bytes())
    assert any(
        "1 items of val or test are exact copies of items of train: test/a/000.png" in note
        for note in open_it(root, seed=1).notes + open_it(root, seed=2).notes + open_it(root, seed=3).notes
    )


def test_the_split_follows_the_split_seed_before_the_seed(make_folder, open_it):
    root = make_folder({"a": 20, "b": 20})
    assert open_it(root, seed=1).splits != open_it(root, seed=2).splits
    assert open_it(root, seed=1, split_seed=5).splits == open_it(root, seed=2, split_seed=5).splits


def test_digits_are_built_in(open_it):
    data = open_it("digits")
    assert len(data) == 1797
    assert data.task.classes == tuple("0123456789")
    image = data.read(np.array([0]))["input"]
    assert (int(image.min()), int(image.max())) == (0, 242)
    assert [len(part) for part in (data.splits.train, data.splits.val, data.splits.test)] == [1079, 359, 359]


@pytest.mark.parametrize(
    ("source", "error", "said"),
    [
        pytest.param("digitz", UnknownNameError, r"neither a path nor .* \(did you mean 'digits'", id="name"),
        pytest.param("x/photo", DataError, r"x/photo: does not exist \(did you mean 'photos'\?\)", id="path"),
        pytest.param("x/file.txt", DataError, r"a file .txt is not read; give an image folder", id="kind of file"),
        pytest.param("", DataError, "no source was given, got an empty name; give an image folder", id="empty"),
        pytest.param(5, DataError, r"data must be an image folder.* got int", id="type"),
    ],
)
def test_a_source_that_is_none_is_told(make_folder, open_it, tmp_path, monkeypatch, source, error, said):
    make_folder({"a": 3}, name="x")
    make_folder({"a": 3}, name="x/photos")
    (tmp_path / "x" / "file.txt").write_text("")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=said):
        open_it(source)


def test_augmentation_needs_images(tmp_path, open_it):
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((12, 3)), y=np.arange(12) % 2)
    with pytest.raises(ConfigError, match=r"data.augment: flip needs images"):
        open_it(tmp_path / "x.npz", augment="flip")


MEMORY = """
import sys, numpy as np, pathlib
from autoft.data import open_data
from autoft.recipe import DataConfig
from autoft.shards import ShardStore

def private():
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024

def read_all(folder, budget):
    store = ShardStore(pathlib.Path(sys.argv[2]), budget)
    data = open_data(sys.argv[1] + folder, DataConfig(image_size=224), seed=0, store=store)
    for start in range(0, len(data), 32):
        data.read(np.arange(start, min(start + 32, len(data))))
    return len(data) * 224 * 224 * 3 / 2**20

read_all("/few", 10**10)
before = private()
for budget in (0, 10**10):
    print(read_all("/many", budget), private() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_private_memory_does_not_grow_with_the_data_whether_in_shards_or_on_the_fly(make_folder, tmp_path):
    make_folder({"few/a": 40, "few/b": 40, "many/a": 200, "many/b": 200}, name="sets", suffix="jpg")
    script = [sys.executable, "-c", MEMORY, tmp_path / "sets", tmp_path / "cache"]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        whole, private = map(float, line.split())
        assert whole > 55
        assert private < 20
