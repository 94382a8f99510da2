"""Held-out folds: a partition of train and val, the same for every recipe, with groups in one piece."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reuse_runs import data_of

from autoft.data.folds import FEW_ITEMS, fold_count, fold_places, held_out


@pytest.fixture
def data():
    return data_of(4, train=20)


def test_the_folds_are_a_partition_of_train_and_val_and_leave_test_alone(data):
    folds = [held_out(data, run, seed=0) for run in range(fold_count(data))]
    assert len(folds) == 5
    pool = np.sort(np.concatenate([data.splits.train, data.splits.val]))
    assert np.array_equal(np.sort(np.concatenate([fold.splits.val for fold in folds])), pool)
    for fold in folds:
        assert np.array_equal(np.sort(np.concatenate([fold.splits.train, fold.splits.val])), pool)
        assert fold.splits.test is data.splits.test
    assert len({fold.fingerprint for fold in (data, *folds)}) == 6


def test_a_fold_is_a_function_of_run_and_seed(data):
    first, again, other = (held_out(data, 1, seed=seed).splits.val for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert np.array_equal(held_out(data, 6, seed=0).splits.val, first), "the sixth of five is the first again"


@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.integers(12, 60), st.booleans())
def test_every_item_is_in_one_fold_no_fold_is_empty_and_groups_stay_together(folds, seed, items, grouped):
    strata = np.arange(items) % 3
    groups = np.array([f"g{number % 8}" for number in range(items)]) if grouped else None
    places = fold_places(strata, groups, folds, seed=seed)
    assert set(places) <= set(range(folds))
    if groups is None:
        assert set(places) == set(range(folds))
        assert np.ptp(np.bincount(places)) <= 3
    else:
        assert all(len(set(places[groups == group])) == 1 for group in groups)


def test_where_every_class_is_rare_folds_are_drawn_without_strata():
    assert sorted(np.bincount(fold_places(np.arange(6), None, 3, seed=0))) == [2, 2, 2]


def test_enough_items_keep_their_split():
    data = data_of(1, train=FEW_ITEMS)
    assert fold_count(data) == 0
    assert held_out(data, 1, seed=0) is data


def test_there_are_no_more_folds_than_groups(data):
    groups = np.array([f"g{number % 2}" for number in range(len(data))])
    assert fold_count(replace(data, groups=groups)) == 2
    assert fold_count(replace(data, groups=np.full(len(data), "one"))) == 0
