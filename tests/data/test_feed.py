import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from autoft.data.feed import epoch_batches, read_ahead
from autoft.recipe import DataConfig

NO_TARGETS = np.zeros(1000, dtype=np.int64)


def batches(train, *, size=4, targets=NO_TARGETS, sampler="shuffle", seed=0, stage="tune", epoch=0):
    config = DataConfig(batch_size=size, sampler=sampler)
    return epoch_batches(np.asarray(train), targets, config, seed=seed, stage=stage, epoch=epoch)


@settings(deadline=None, max_examples=100)
@given(count=st.integers(1, 200), size=st.integers(1, 40), epoch=st.integers(0, 5))
def test_an_epoch_sees_every_item_once_in_batches_none_of_which_is_a_lone_leftover(count, size, epoch):
    train = np.arange(count) * 3
    parts = batches(train, size=size, epoch=epoch)
    assert sorted(np.concatenate(parts)) == train.tolist()
    assert all(len(part) == size for part in parts[:-1])
    assert len(parts[-1]) <= size + 1
    assert len(parts[-1]) > 1 or size == 1 or count == 1


def test_a_last_batch_of_one_joins_the_one_before():
    assert [len(part) for part in batches(range(9))] == [4, 5]
    assert [len(part) for part in batches(range(10))] == [4, 4, 2]
    assert [len(part) for part in batches(range(1))] == [1]


def test_the_order_is_the_same_for_the_same_key_and_another_for_any_other():
    def order(**key):
        return np.concatenate(batches(range(100), **key)).tolist()

    assert order() == order()
    others = [order(seed=1), order(stage="head"), order(epoch=1), sorted(order())]
    assert all(other != order() for other in others)


def test_the_order_does_not_depend_on_the_global_generator():
    np.random.seed(0)  # noqa: NPY002 - the point of the test
    first = np.concatenate(batches(range(50)))
    np.random.seed(1)  # noqa: NPY002
    assert (np.concatenate(batches(range(50))) == first).all()


def test_the_balanced_sampler_draws_each_class_equally_often():
    targets = np.repeat([0, 1, 4], [90, 8, 2])
    train = np.arange(1, 100)
    drawn = np.concatenate(batches(train, targets=targets, sampler="balanced"))
    assert len(drawn) == 99
    assert set(drawn) <= set(train)
    assert np.bincount(targets[drawn], minlength=5).tolist() == [33, 33, 0, 0, 33]
    again = np.concatenate(batches(train, targets=targets, sampler="balanced"))
    assert (again == drawn).all()
    other = np.concatenate(batches(train, targets=targets, sampler="balanced", epoch=1))
    assert (other != drawn).any()


def test_balanced_batches_hold_each_class_equally_often():
    targets = np.repeat([0, 1], [500, 500])
    for part in batches(range(1000), targets=targets, sampler="balanced", size=100):
        assert targets[part].sum() == 50


def test_reading_ahead_keeps_the_order():
    assert list(read_ahead(range(10), lambda number: number * 2)) == [number * 2 for number in range(10)]
    assert list(read_ahead([], str)) == []


def test_the_next_batch_is_read_while_this_one_is_used():
    read = {number: threading.Event() for number in range(3)}

    def note(number):
        read[number].set()
        return number

    feed = read_ahead(range(3), note)
    assert next(feed) == 0
    assert read[1].wait(5)
    assert not read[2].is_set()
    feed.close()


def test_an_error_in_reading_comes_where_its_batch_is_due_and_ends_the_thread():
    def read(number):
        if number == 1:
            raise OSError("damaged")
        return number

    before = threading.active_count()
    feed = read_ahead(range(3), read)
    assert next(feed) == 0
    with pytest.raises(OSError, match="damaged"):
        next(feed)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_what_is_computed_while_reading_uses_as_many_cores_as_its_reader_may():
    before, rows = torch.get_num_threads(), torch.fft.rfft2(torch.randn(32, 4, 14, 14))
    torch.set_num_threads(2)
    try:
        expected = torch.fft.irfft2(rows)
        assert all(torch.equal(found, expected) for found in read_ahead(range(2), lambda _: torch.fft.irfft2(rows)))
    finally:
        torch.set_num_threads(before)
