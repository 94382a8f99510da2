"""Laws of the store."""

import os
import pickle
import shutil

import numpy as np
import pytest

from autoft.errors import StorageError
from autoft.shards import Field, Shards, ShardsTooLargeError, ShardStore, default_max_bytes, default_root

FIELDS = {"input": Field((3, 2), "uint8"), "score": Field((), "float32")}
ROW_BYTES = 3 * 2 + 4


def content(count, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "input": rng.integers(0, 256, (count, 3, 2), dtype=np.uint8),
        "score": rng.random(count, dtype=np.float32),
    }


def builder(count, seed=0, calls=None):
    def build(writer):
        if calls is not None:
            calls.append(seed)
        writer.put(slice(None), content(count, seed))

    return build


def never(writer):
    pytest.fail("must not be built again")


@pytest.fixture
def store(tmp_path):
    return ShardStore(tmp_path / "cache", 100_000)


def build(store, key, count=10, seed=0):
    return store.get_or_build(key, FIELDS, count, builder(count, seed))


def same(shards, expected):
    return all(np.array_equal(shards.fields[name], values) for name, values in expected.items())


def visible(store):
    return sorted(path.name for path in store.root.iterdir() if path.name != ".locks")


def test_what_was_put_is_read_and_a_second_start_does_not_build(store):
    assert same(build(store, "a"), content(10))
    again = ShardStore(store.root, 100_000).get_or_build("a", FIELDS, 10, never)
    assert same(again, content(10))
    assert again.count == 10
    assert again.nbytes == 10 * ROW_BYTES
    chosen = again.read(np.array([7, 0, 7]))
    assert np.array_equal(chosen["input"], content(10)["input"][[7, 0, 7]])
    assert set(again.read(np.array([1]), ("score",))) == {"score"}


def test_rows_can_be_put_in_any_order_and_shape_of_index(store):
    expected = content(10)

    def scattered(writer):
        writer.put(np.array([9, 3, 4, 5]), {name: part[[9, 3, 4, 5]] for name, part in expected.items()})
        writer.put(0, {name: part[0] for name, part in expected.items()})
        writer.put(slice(1, 3), {"score": expected["score"][1:3]})
        writer.put(slice(1, 3), {"input": expected["input"][1:3]})
        writer.put(slice(6, 9), {name: part[6:9] for name, part in expected.items()})

    assert same(store.get_or_build("a", FIELDS, 10, scattered), expected)


@pytest.mark.parametrize(
    ("index", "values", "said"),
    [
        pytest.param(0, {"score": np.float64(1)}, "float32", id="another type"),
        pytest.param(slice(0, 2), {"score": np.zeros(3, np.float32)}, "rows of float32", id="another length"),
        pytest.param(10, {"score": np.float32(1)}, "rows must be 0 to 9", id="beyond the end"),
        pytest.param(slice(0, 9), content(9), "row 9 of field 'input' was never put", id="a row left out"),
    ],
)
def test_a_builder_that_puts_nonsense_is_told_and_leaves_nothing(store, index, values, said):
    with pytest.raises(ValueError, match=said):
        store.get_or_build("a", FIELDS, 10, lambda writer: writer.put(index, values))
    assert visible(store) == []


def test_shards_are_read_only(store):
    shards = build(store, "a")
    with pytest.raises(ValueError, match="read-only"):
        shards.fields["input"][0] = 0


def test_fields_of_any_name_and_no_rows_at_all_are_kept(store):
    fields = {"a/b c": Field((2,), "float16"), "": Field((), "bool")}
    shards = store.get_or_build("odd", fields, 0, lambda writer: None)
    assert shards.fields["a/b c"].shape == (0, 2)
    assert shards.count == 0


def damage_by_flipping(folder):
    path = folder / "0.bin"
    raw = bytearray(path.read_bytes())
    raw[5] ^= 1
    path.write_bytes(raw)


def damage_by_removing_the_marker(folder):
    (folder / "in-use").unlink()


DAMAGES = {
    "a flipped bit": damage_by_flipping,
    "a truncated file": lambda folder: (folder / "1.bin").write_bytes(b"\0" * 7),
    "a missing file": lambda folder: (folder / "0.bin").unlink(),
    "a missing manifest": lambda folder: (folder / "manifest.json").unlink(),
    "half a manifest": lambda folder: (folder / "manifest.json").write_text('{"format": 1, "cou'),
    "another format": lambda folder: (folder / "manifest.json").write_text('{"format": 99}'),
    "a missing marker": damage_by_removing_the_marker,
    "a manifest that is a list": lambda folder: (folder / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_shard_is_rebuilt_and_never_trusted(store, damage):
    build(store, "a").close()
    damage(store.root / "a")
    assert store.get("a") is None
    calls = []
    assert same(store.get_or_build("a", FIELDS, 10, builder(10, calls=calls)), content(10))
    assert calls == [0]
    assert visible(store) == ["a"]


def test_other_content_under_a_key_is_not_taken_for_what_was_asked(store):
    build(store, "a", count=10)
    assert build(store, "a", count=11).count == 11


def test_a_damaged_shard_is_told_to_a_process_that_only_reads(store):
    sent = pickle.dumps(build(store, "a"))
    damage_by_flipping(store.root / "a")
    with pytest.raises(StorageError, match="checksum"):
        _ = pickle.loads(sent).fields
    shutil.rmtree(store.root / "a")
    with pytest.raises(StorageError, match=r"gone; run the same command again"):
        _ = pickle.loads(sent).fields


def test_a_truncated_shard_is_told_without_reading_it(store, monkeypatch):
    sent = pickle.dumps(build(store, "a"))
    (store.root / "a" / "1.bin").write_bytes(bytes(7))
    monkeypatch.setattr("autoft.shards.reader.checksum", lambda path: pytest.fail("was read"))
    with pytest.raises(StorageError, match=r"1.bin: 7 bytes, must be 40"):
        _ = pickle.loads(sent).fields


def test_what_is_being_built_counts_towards_the_budget(tmp_path):
    store = ShardStore(tmp_path, 2 * 10 * ROW_BYTES - 1)

    def build_and_try_another(writer):
        with pytest.raises(ShardsTooLargeError, match="beside what other processes use"):
            build(store, "b")
        writer.put(slice(None), content(10))

    store.get_or_build("a", FIELDS, 10, build_and_try_another)


def test_shards_pickle_small_and_trust_what_was_verified_here(store, monkeypatch):
    shards = build(store, "a")
    sent = pickle.dumps(shards)
    assert len(sent) < 500
    monkeypatch.setattr("autoft.shards.reader.checksum", lambda path: pytest.fail("verified already"))
    assert same(pickle.loads(sent), content(10))
    with pytest.raises(pytest.fail.Exception):
        Shards.find(store.root / "a")


def test_the_least_recently_used_is_evicted_first(tmp_path):
    store = ShardStore(tmp_path, 3 * 10 * ROW_BYTES)
    for number, key in enumerate(("a", "b", "c")):
        build(store, key).close()
        _age(store, key, number)
    store.get("a").close()
    build(store, "d")
    assert visible(store) == ["a", "c", "d"]
    assert store.used_bytes() == 3 * 10 * ROW_BYTES


def _age(store, key, number):
    os.utime(store.root / key / "in-use", (1000 + number, 1000 + number))


def test_what_is_open_is_never_evicted(tmp_path):
    store = ShardStore(tmp_path, 2 * 10 * ROW_BYTES)
    held = build(store, "a")
    build(store, "b").close()
    build(store, "c")
    assert visible(store) == ["a", "c"]
    assert same(held, content(10))
    other = build(ShardStore(tmp_path, 10**6), "d")
    with pytest.raises(ShardsTooLargeError, match="other processes use"):
        store.get_or_build("e", FIELDS, 20, never)
    held.close()
    other.close()
    assert same(held, content(10)), "reading again opens again"


@pytest.mark.parametrize("budget", [0, 10 * ROW_BYTES - 1])
def test_what_can_never_fit_is_refused_without_evicting_anything(tmp_path, budget):
    build(ShardStore(tmp_path, 10**6), "a").close()
    with pytest.raises(ShardsTooLargeError, match=f"budget of {budget}"):
        ShardStore(tmp_path, budget).get_or_build("b", FIELDS, 10, never)
    assert visible(ShardStore(tmp_path, 0)) == ["a"]


def test_exactly_the_budget_fits(tmp_path):
    assert build(ShardStore(tmp_path, 10 * ROW_BYTES), "a").count == 10


@pytest.mark.parametrize("key", ["", "../x", ".hidden", "a/b", "x" * 201])
def test_a_key_must_be_a_plain_name(store, key):
    with pytest.raises(ValueError, match="shard key"):
        build(store, key)


def test_a_builder_that_fails_leaves_nothing_and_the_next_one_builds(store):
    def fail(writer):
        writer.put(slice(0, 5), content(5))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.get_or_build("a", FIELDS, 10, fail)
    assert visible(store) == []
    assert same(build(store, "a"), content(10))


@pytest.mark.parametrize("call", ["posix_fallocate", "pwrite"])
def test_a_full_disk_is_told_and_leaves_nothing(store, monkeypatch, call):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(f"autoft.shards.writer.os.{call}", full)
    with pytest.raises(StorageError, match=r"No space left on device; free some space"):
        build(store, "a")
    assert visible(store) == []
    monkeypatch.undo()
    assert same(build(store, "a"), content(10))


def test_a_root_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        build(ShardStore(tmp_path / "file" / "cache", 1000), "a")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        pytest.param({"AUTOFT_CACHE_DIR": "/x/own", "XDG_CACHE_HOME": "/x/cache"}, "/x/own", id="own"),
        pytest.param({"XDG_CACHE_HOME": "/x/cache"}, "/x/cache/autoft", id="xdg"),
        pytest.param({"HOME": "/x/home"}, "/x/home/.cache/autoft", id="home"),
    ],
)
def test_the_default_root_follows_the_environment(monkeypatch, variables, expected):
    for name in ("AUTOFT_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(default_root()) == expected


def test_the_default_budget_counts_what_the_store_holds(tmp_path):
    root = tmp_path / "not" / "yet"
    before = default_max_bytes(root, share=1.0)
    assert before > 0
    ShardStore(root, 10**9).get_or_build(
        "big", {"x": Field((1 << 20,), "uint8")}, 64, lambda writer: [writer.put(i, {"x": _mib()}) for i in range(64)]
    )
    assert abs(default_max_bytes(root, share=1.0) - before) < (1 << 30)


def _mib():
    return np.zeros(1 << 20, dtype=np.uint8)
