import multiprocessing
import os

import numpy as np
import pytest

from autoft.shards import Field, ShardStore, clear, entries, verify

FIELDS = {"x": Field((4,), "int64")}
CONTEXT = multiprocessing.get_context("spawn")


def build(writer):
    writer.put(slice(None), {"x": np.arange(writer.count * 4, dtype=np.int64).reshape(-1, 4)})


def die(root):
    def stop(_writer):
        os._exit(1)

    ShardStore(root, 10**6).get_or_build("dead", FIELDS, 10, stop)


def hold(shards, opened, done):
    assert shards.count == 10
    opened.set()
    done.wait(30)


@pytest.fixture
def store(tmp_path):
    """Two entries: the older one is ``a``."""
    store = ShardStore(tmp_path / "cache", 10**6)
    for when, key in ((1000, "a"), (2000, "b")):
        store.get_or_build(key, FIELDS, 10, build).close()
        os.utime(store.root / key / "in-use", (when, when))
    return store


def damage(store, key):
    path = store.root / key / "0.bin"
    content = bytearray(path.read_bytes())
    content[9] ^= 1
    path.write_bytes(content)


def test_entries_are_told_from_the_least_recently_used_on_and_looking_is_not_using(store):
    held = store.get("b")
    os.utime(store.root / "b" / "in-use", (2000, 2000))
    for _ in range(2):
        told = [(each.key, each.nbytes, each.rows, each.last_used, each.in_use) for each in entries(store)]
        assert told == [("a", 320, 10, 1000.0, False), ("b", 320, 10, 2000.0, True)]
    held.close()
    assert not any(each.in_use for each in entries(store))
    assert entries(ShardStore(store.root / "none", 1)) == []


def test_what_is_whole_stays_as_it_is(store):
    assert verify(store) == []
    assert [each.last_used for each in entries(store)] == [1000.0, 2000.0]


def test_what_is_damaged_is_told_and_removed_unless_it_is_in_use(store):
    held = store.get("b")
    for key in ("a", "b"):
        damage(store, key)
    first, second = verify(store)
    assert (first.key, first.removed, second.key, second.removed) == ("a", True, "b", False)
    assert "does not match its checksum" in first.what
    assert [each.key for each in entries(store)] == ["b"]
    held.close()
    assert verify(store)[0].removed
    assert entries(store) == []


def test_an_entry_without_a_manifest_has_unknown_rows_and_is_damaged(store):
    (store.root / "a" / "manifest.json").unlink()
    assert entries(store)[0].rows is None
    assert [each.key for each in verify(store)] == ["a"]


def test_clear_removes_what_nobody_uses_and_what_the_dead_left(store):
    process = CONTEXT.Process(target=die, args=(store.root,))
    process.start()
    process.join(60)
    assert list(store.root.glob(".building-*"))
    opened, done = CONTEXT.Event(), CONTEXT.Event()
    shards = store.get("b")
    process = CONTEXT.Process(target=hold, args=(shards, opened, done))
    process.start()
    assert opened.wait(60)
    shards.close()
    removed, kept = clear(store)
    assert ([each.key for each in removed], [each.key for each in kept]) == (["a"], ["b"])
    done.set()
    process.join(60)
    assert process.exitcode == 0
    assert clear(store)[1] == []
    assert [path.name for path in store.root.iterdir()] == [".locks"]


def test_nothing_but_entries_is_ever_touched(store):
    foreign = store.root / "pictures"
    foreign.mkdir()
    (foreign / "in-use").write_text("")
    (foreign / "holiday.jpg").write_text("precious")
    (store.root / "notes").mkdir()
    (store.root / "notes" / "0.bin").write_text("mine")
    (store.root / "file").write_text("mine too")
    assert [each.key for each in entries(store)] == ["a", "b"]
    clear(store)
    verify(store)
    assert sorted(path.name for path in store.root.iterdir()) == [".locks", "file", "notes", "pictures"]
    assert (foreign / "holiday.jpg").read_text() == "precious"
