"""Laws of splits: partition, purity, presence of every class, groups that stay together."""

import json
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoft.data.splits import Plan, Population, Splits, draw_splits
from autoft.errors import DataError

SPLITS = ("train", "val", "test")
fractions = st.sampled_from([(0.2, 0.2), (0.1, 0.0), (0.5, 0.3), (0.05, 0.05), (0.33, 0.33), (0.2, 0.0)])


def names(count):
    return tuple(f"{number:06}" for number in range(count))


def population(strata, **more):
    return Population(names(len(strata)), "f", np.asarray(strata, dtype=np.int64), **more)


def draw(strata, seed=0, fractions=(0.2, 0.2), **more):
    return draw_splits(population(strata, **more), Plan(seed, *fractions))


def parts(splits):
    return [getattr(splits, split) for split in SPLITS]


def is_partition(splits, count):
    return np.array_equal(np.sort(np.concatenate(parts(splits))), np.arange(count)) and all(
        np.array_equal(part, np.sort(part)) for part in parts(splits)
    )


@given(st.lists(st.integers(3, 40), min_size=2, max_size=8), fractions, st.integers(0, 2**32))
def test_a_split_is_a_partition_and_a_pure_function(sizes, chosen, seed):
    strata = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    first, second = draw(strata, seed, chosen), draw(strata, seed, chosen)
    assert first == second
    assert is_partition(first, len(strata))
    assert (len(first.test) == 0) == (chosen[1] == 0.0)


@given(st.lists(st.integers(3, 40), min_size=2, max_size=8), fractions, st.integers(0, 2**32))
def test_every_class_with_enough_items_is_in_every_split_in_its_share(sizes, chosen, seed):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    splits = draw(strata, seed, chosen)
    for split, share in zip(SPLITS, (1 - sum(chosen), *chosen), strict=True):
        counts = np.bincount(strata[getattr(splits, split)], minlength=len(sizes))
        if share:
            assert counts.min() >= 1
            assert np.abs(counts - share * np.array(sizes)).max() <= 2


@given(st.integers(10, 300), fractions, st.integers(0, 2**32))
def test_sizes_are_the_fractions_of_the_whole(count, chosen, seed):
    splits = draw(np.zeros(count), seed, chosen)
    for part, share in zip(parts(splits)[1:], chosen, strict=True):
        assert len(part) == (max(round(count * share), 1) if share else 0)


@pytest.mark.parametrize("what", ["seed", "fingerprint", "fraction"])
def test_another_seed_fingerprint_or_fraction_is_another_split(what):
    strata = np.repeat(np.arange(3), 20)
    base = draw(strata)
    other = {
        "seed": lambda: draw(strata, 1),
        "fingerprint": lambda: draw_splits(Population(names(60), "g", strata), Plan(0, 0.2, 0.2)),
        "fraction": lambda: draw(strata, 0, (0.2, 0.1)),
    }[what]()
    assert not np.array_equal(base.val, other.val)


@given(st.integers(6, 120), st.integers(4, 12), st.integers(1, 4), fractions, st.integers(0, 2**32))
def test_groups_never_straddle_splits_and_every_split_has_some(count, num_groups, classes, chosen, seed):
    rng = np.random.default_rng(seed)
    groups = np.concatenate([np.arange(num_groups), rng.integers(0, num_groups, count)]).astype(str)
    strata = rng.integers(0, classes, len(groups))
    try:
        splits = draw(strata, seed, chosen, groups=groups)
    except DataError:
        assert not can_be_split(strata, groups, 1 + bool(chosen[1]))
        return
    assert is_partition(splits, len(groups))
    owners = [set(groups[part]) for part in parts(splits)]
    assert sum(map(len, owners)) == len(set().union(*owners))
    assert all(len(owner) for owner, share in zip(owners, (1, *chosen), strict=True) if share)
    assert set(strata[splits.train]) == set(strata), "every class can be learnt"
    assert splits == draw(strata, seed, chosen, groups=groups)


def can_be_split(strata, groups, leaving):
    """Whether so many groups can leave while the others still have every class."""
    return any(
        set(strata[~np.isin(groups, chosen)]) == set(strata) for chosen in combinations(np.unique(groups), leaving)
    )


def test_many_groups_are_dealt_out_in_the_shares_asked_for():
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 60, 600)).astype(str)
    strata = rng.integers(0, 3, 600)
    splits = draw(strata, groups=groups)
    for part, share in zip(parts(splits), (0.6, 0.2, 0.2), strict=True):
        assert abs(len(part) / 600 - share) < 0.03
        assert np.abs(np.bincount(strata[part]) / np.bincount(strata) - share).max() < 0.06


def test_a_class_in_two_groups_is_in_train_and_in_val():
    groups = np.array([f"{label}-{number % 2}" for label in range(4) for number in range(6)])
    strata = np.repeat(np.arange(4), 6)
    splits = draw(strata, fractions=(0.2, 0.0), groups=groups)
    assert set(strata[splits.train]) == set(strata[splits.val]) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("present", "chosen", "kept", "drawn"),
    [
        pytest.param(("train", "val", "test"), (0.2, 0.2), ("val", "test"), (), id="all given"),
        pytest.param(("train", "test"), (0.2, 0.2), ("test",), ("val",), id="val is drawn"),
        pytest.param(("train", "val"), (0.2, 0.2), ("val",), ("test",), id="test is drawn"),
        pytest.param(("train", "val"), (0.2, 0.0), ("val",), (), id="no test is wanted"),
        pytest.param(("train",), (0.2, 0.2), (), ("val", "test"), id="both are drawn"),
    ],
)
def test_given_splits_are_kept_and_the_missing_ones_come_from_train(present, chosen, kept, drawn):
    strata = np.tile(np.arange(2), 60)
    place = np.resize(np.array(present), 120)
    splits = draw(strata, fractions=chosen, given=place)
    assert is_partition(splits, 120)
    for split in kept:
        assert np.array_equal(getattr(splits, split), np.flatnonzero(place == split))
    pool = (place == "train").sum()
    for split in drawn:
        chosen_here = getattr(splits, split)
        assert set(place[chosen_here]) == {"train"}
        assert len(chosen_here) == round(pool * 0.2)


def test_a_group_in_two_given_splits_is_refused():
    with pytest.raises(DataError, match="group 'a' is in the given splits train and val"):
        draw([0, 0, 1], given=np.array(["train", "val", "train"]), groups=np.array(["group:a", "group:a", "group:b"]))


@pytest.mark.parametrize("groups", [None, np.array(["a", "a", "b", "b"])], ids=["items", "groups"])
def test_too_few_items_or_groups_are_refused(groups):
    strata = [0, 0] if groups is None else [0, 1, 0, 1]
    remedy = "add some" if groups is None else "give more, or leave the groups out"
    with pytest.raises(DataError, match=f"cannot be split into train, val, test; at least 3 are needed: {remedy}$"):
        draw(strata, groups=groups)


@given(st.integers(3, 200), fractions, st.integers(0, 2**32))
def test_parts_of_a_range_need_not_be_everywhere(count, chosen, seed):
    values = np.random.default_rng(seed).random(count)
    strata = np.searchsorted(np.quantile(values, np.linspace(0, 1, 11)[1:-1]), values, side="right")
    splits = draw(strata, seed, chosen, ordered=True)
    assert is_partition(splits, count)
    for part, share in zip(parts(splits), (1 - sum(chosen), *chosen), strict=True):
        if share:
            assert len(part) >= 1
            assert abs(len(part) - share * count) <= 2


def test_a_range_is_covered_by_every_split():
    values = np.random.default_rng(0).random(400)
    strata = np.searchsorted(np.quantile(values, np.linspace(0, 1, 11)[1:-1]), values, side="right")
    splits = draw(strata, ordered=True)
    assert all(np.abs(np.bincount(strata[part]) / len(part) - 0.1).max() < 0.02 for part in parts(splits))


@settings(max_examples=100)
@given(st.integers(8, 80), st.integers(1, 6), st.floats(0.02, 0.6), st.integers(0, 2**32))
@example(count=8, width=6, rate=0.125, seed=112)  # val and test have one item each, and both have the label
def test_every_label_that_two_items_have_is_in_train_and_nearly_always_in_val(count, width, rate, seed):
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, width)) < rate).astype(np.float32)
    rarity = np.where(labels > 0, labels.sum(axis=0), count + 1)
    strata = np.where(labels.any(axis=1), rarity.argmin(axis=1), width)
    splits = draw(strata, seed, labels=labels)
    assert is_partition(splits, count)
    assert all(len(part) for part in parts(splits))
    held = labels.sum(axis=0)
    assert (labels[splits.train].sum(axis=0)[held >= 2] >= 1).all()


@pytest.mark.parametrize("seed", range(12))
def test_a_label_that_is_never_the_rarest_of_its_items_is_in_train_and_in_val_too(seed):
    rare = [[1, 1, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    labels = np.array([*rare, *[[0, 0, 0, 1]] * 20], dtype=np.float32)
    strata = np.array([1, 1, 1, 2, 2, 2, *[3] * 20])
    splits = draw(strata, seed, (0.2, 0.0), labels=labels)
    assert labels[splits.train].any(axis=0).all()
    assert labels[splits.val][:, 0].any()


def test_a_class_whose_groups_other_classes_would_take_away_is_in_train():
    content = {"a": "XXXX", "b": "XZ", "c": "YYYY", "d": "YZ"}
    groups = np.array([group for group, classes in content.items() for _ in classes])
    strata = np.array(["XYZ".index(label) for classes in content.values() for label in classes])
    for seed in range(5):
        splits = draw(strata, seed, (0.2, 0.0), groups=groups)
        assert set(strata[splits.train]) == {0, 1, 2}
        assert len(splits.val)


@given(st.lists(st.integers(3, 20), min_size=2, max_size=4), st.integers(0, 2**32))
def test_splits_can_be_written_read_and_compared(sizes, seed):
    splits = draw(np.repeat(np.arange(len(sizes)), sizes), seed)
    text = json.dumps(splits.plain())
    assert Splits.from_plain(json.loads(text)) == splits
    assert json.loads(text)["train"][0] == splits.names[splits.train[0]]
    again = Splits.from_plain(json.loads(text))
    assert all(np.array_equal(one, other) for one, other in zip(parts(again), parts(splits), strict=True))
