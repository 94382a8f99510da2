"""A worker that finds another one building what it needs."""

import threading
import time

import numpy as np
import pytest
from filelock import FileLock
from freezing_models import base
from reuse_runs import keeping, run, seen, small

from autoft.cache import Need, Prepared
from autoft.shards import Field, ShardsBusyError, ShardStore

ROWS = {"x": Field((2,), "int64")}


def fill(writer):
    writer.put(slice(None), {"x": np.zeros((3, 2), np.int64)})


@pytest.fixture
def held(tmp_path):
    """Lets another one hold the locks of all entries of the hand-written network."""
    recipe, data = small()
    cache, _ = keeping(tmp_path / "known", data)
    run(recipe, base("hand-written").reset(), data, cache)
    store = ShardStore(tmp_path / "busy", 10**9)
    names = [path.name for path in (tmp_path / "known").glob("activations-*")]
    locks = [FileLock(store._locked(name).lock_file, thread_local=False) for name in names]
    assert len(locks) == 2
    for lock in locks:
        lock.acquire()
    yield locks
    for lock in locks:
        lock.release()


def test_whoever_may_not_wait_is_told_at_once_and_leaves_nothing(tmp_path):
    store, asked = ShardStore(tmp_path, 10**6), []
    with store._locked("key"):
        started = time.monotonic()
        with pytest.raises(ShardsBusyError, match="another process is building"):
            store.get_or_build("key", ROWS, 3, fill, may_wait=lambda: len(asked) > 2 or asked.append(1))
        assert time.monotonic() - started < 1
    assert [path.name for path in tmp_path.iterdir()] == [".locks"]
    assert store.get_or_build("key", ROWS, 3, fill).count == 3


def test_a_trial_goes_on_from_pixels_where_another_process_takes_too_long_and_reuses_what_is_there_later(
    tmp_path, held, monkeypatch
):
    monkeypatch.setattr("autoft.cache.cache._LEAST_WAIT_S", 0.0)
    recipe, data = small()
    expected = run(recipe, base("hand-written").reset(), data)
    cache, told = keeping(tmp_path / "busy", data)
    waited = run(recipe, base("hand-written").reset(), data, cache)
    assert seen(waited) == seen(expected)
    assert {evaluation.reused for evaluation in waited.curve} == {""}
    assert len(told) == 2
    assert all("being built by another process" in text for text in told)
    for lock in held:
        lock.release()
    later = run(recipe, base("hand-written").reset(), data, cache)
    assert seen(later) == seen(expected)
    assert all(evaluation.reused for evaluation in later.curve)


def test_a_trial_waits_for_what_another_process_is_about_to_finish(tmp_path, held):
    recipe, data = small()
    cache, told = keeping(tmp_path / "busy", data)
    timer = threading.Timer(0.5, lambda: [lock.release() for lock in held])
    timer.start()
    waited = run(recipe, base("hand-written").reset(), data, cache)
    timer.join()
    assert all(evaluation.reused for evaluation in waited.curve)
    assert told == []


def test_waiting_ends_within_a_second_of_being_told_to_stop(tmp_path, held, monkeypatch):
    monkeypatch.setattr("autoft.cache.cache._LEAST_WAIT_S", 600.0)
    _, data = small()
    cache, told = keeping(tmp_path / "busy", data)
    end = time.monotonic() + 0.5
    needs = [Need(index, 9.0) for index in range(1, 5)]
    found = cache.prepare(base("hand-written").reset(), needs, should_stop=lambda: time.monotonic() > end)
    assert found == Prepared()
    assert time.monotonic() < end + 1
    assert told == []
    assert held
