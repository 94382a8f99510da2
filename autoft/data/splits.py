"""Splits: train, val and test, a pure function of the data's fingerprint, the seed and the fractions.

Stratified by count per stratum (largest remainders), not by scikit-learn's `StratifiedShuffleSplit`, which refuses rare
classes and does not promise that each is in every split. Groups are dealt out as by `StratifiedGroupKFold`, but to
unequal shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from autoft.data.sources.listing import TEST, TRAIN, VAL
from autoft.errors import DataError
from autoft.streams import stream

Indices = NDArray[np.int64]
_LEAST_MERGED = 5


@dataclass(frozen=True, eq=False)
class Splits:
    """Item numbers per split, ascending; together they are all items, and none is in two of them."""

    train: Indices
    val: Indices
    test: Indices
    """May be empty."""
    names: tuple[str, ...]
    """Of all items, sorted."""
    fingerprint: str
    """Of the data."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Splits) and self.plain() == other.plain()

    __hash__ = None  # type: ignore[assignment]

    def plain(self) -> dict[str, Any]:
        """As JSON knows it: the fingerprint, and the items' names per split."""
        named = {split: [self.names[index] for index in getattr(self, split)] for split in (TRAIN, VAL, TEST)}
        return {"fingerprint": self.fingerprint, **named}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`: items are numbered by the order of their names."""
        names = sorted(name for split in (TRAIN, VAL, TEST) for name in plain[split])
        number = {name: index for index, name in enumerate(names)}
        indices = {
            split: np.array(sorted(number[name] for name in plain[split]), dtype=np.int64)
            for split in (TRAIN, VAL, TEST)
        }
        return cls(**indices, names=tuple(names), fingerprint=str(plain["fingerprint"]))


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be drawn: fractions of the items that are not given to val or test."""

    seed: int
    val_fraction: float
    test_fraction: float

    def drawn(self, given: NDArray[np.str_] | None) -> dict[str, float]:
        """The splits that have to be drawn, and their fractions."""
        wanted = {VAL: self.val_fraction, TEST: self.test_fraction}
        present = set() if given is None else set(given.tolist())
        return {split: fraction for split, fraction in wanted.items() if fraction > 0.0 and split not in present}


@dataclass(frozen=True)
class Population:
    """What is split."""

    names: tuple[str, ...]
    """Of the items, sorted."""
    fingerprint: str
    """Of the data; it enters the draw."""
    strata: Indices
    """Of the items (n,); each keeps its share in each split, as far as whole items allow."""
    ordered: bool = False
    """Strata are parts of a range, not classes: small ones are merged, and none needs to be in every split."""
    given: NDArray[np.str_] | None = None
    """``train``, ``val`` or ``test`` per item, where the source says it."""
    groups: NDArray[np.str_] | None = None
    """Items of one group stay together."""
    labels: NDArray[Any] | None = None
    """0/1 (n, labels): every label shall be in train, and if two items have it, also in val where moving single items
    can do that. Strata are then the rarest label of each item."""


def draw_splits(population: Population, plan: Plan) -> Splits:
    """Draw what is not given from the training items.

    Raises:
        DataError: fewer items or groups than splits, or a group in two given splits.
    """
    given, groups = population.given, population.groups
    place = np.full(len(population.names), TRAIN, dtype="<U5") if given is None else given.astype("<U5")
    if groups is not None:
        _check_groups(place, groups)
    if fractions := plan.drawn(given):
        pool = np.flatnonzero(place == TRAIN)
        _check_enough(pool, groups, fractions)
        rng = stream(plan.seed, "split", population.fingerprint, repr(plan.val_fraction), repr(plan.test_fraction))
        place[pool] = _draw(population, pool, fractions, rng)
    indices = {split: np.flatnonzero(place == split).astype(np.int64) for split in (TRAIN, VAL, TEST)}
    return Splits(**indices, names=population.names, fingerprint=population.fingerprint)


def _draw(
    population: Population, pool: Indices, fractions: Mapping[str, float], rng: np.random.Generator
) -> NDArray[np.str_]:
    strata = _merged(population.strata[pool]) if population.ordered else population.strata[pool]
    if population.groups is not None:
        return _draw_groups(strata, population.groups[pool], fractions, rng, everywhere=not population.ordered)
    place = _draw_items(strata, fractions, rng, everywhere=not population.ordered)
    return place if population.labels is None else _spread_labels(place, population.labels[pool] > 0.5, rng)


def _check_enough(pool: Indices, groups: NDArray[np.str_] | None, fractions: Mapping[str, float]) -> None:
    units = len(pool) if groups is None else len(np.unique(groups[pool]))
    needed = len(fractions) + 1
    if units < needed:
        what, remedy = ("items", "add some") if groups is None else ("groups", "give more, or leave the groups out")
        raise DataError(
            f"{units} {what} cannot be split into {', '.join([TRAIN, *fractions])}; "
            f"at least {needed} are needed: {remedy}"
        )


def _merged(strata: Indices) -> Indices:
    """Neighbouring strata joined until they hold about five items each."""
    _, members, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    begins = np.cumsum(sizes) - sizes
    return np.asarray(begins[members] // _LEAST_MERGED, dtype=np.int64)


def _draw_items(
    strata: Indices, fractions: Mapping[str, float], rng: np.random.Generator, *, everywhere: bool
) -> NDArray[np.str_]:
    """The split of each item. Without strata when those are so small that a split would stay empty."""
    place = _draw_stratified(strata, fractions, rng, everywhere=everywhere)
    if all((place == split).any() for split in (TRAIN, *fractions)):
        return place
    return _draw_stratified(np.zeros_like(strata), fractions, rng, everywhere=True)


def _draw_stratified(
    strata: Indices, fractions: Mapping[str, float], rng: np.random.Generator, *, everywhere: bool
) -> NDArray[np.str_]:
    """The split of each item; ``everywhere``: each stratum that has enough items is in each split, all are in train."""
    _, members, sizes = np.unique(strata, return_inverse=True, return_counts=True)
    counts = {split: _apportion(sizes, fraction) for split, fraction in fractions.items()}
    place = np.full(len(strata), TRAIN, dtype="<U5")
    for number, size in enumerate(sizes.tolist()):
        shuffled = rng.permutation(np.flatnonzero(members == number))
        left = size - 1 if everywhere else size
        for split, count in counts.items():
            least = 1 if everywhere and left else 0
            later = len(counts) - 1 - list(counts).index(split) if everywhere else 0
            taken = min(max(int(count[number]), least), max(left - later, least))
            place[shuffled[left - taken : left]] = split
            left -= taken
    return place


def _apportion(sizes: Indices, fraction: float) -> Indices:
    """Items per stratum, by largest remainders; at least one item in all."""
    exact = sizes * fraction
    counts = np.floor(exact).astype(np.int64)
    missing = max(round(float(exact.sum())), 1) - int(counts.sum())
    counts[np.argsort(counts - exact, kind="stable")[: max(missing, 0)]] += 1
    return np.asarray(counts)


def _spread_labels(place: NDArray[np.str_], labels: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.str_]:
    """Move single items so that each label, rarest first, is in train, and in val if two items have it.

    A label can be in the items of several strata and yet be rare in none of them, so strata alone do not see to it.
    """
    place = place.copy()
    for label in np.argsort(labels.sum(axis=0), kind="stable"):
        holders = rng.permutation(np.flatnonzero(labels[:, label]))
        for split, enough in ((TRAIN, 1), (VAL, 2)):
            if len(holders) < enough or split not in place or (place[holders] == split).any():
                continue
            movable = [item for item in holders if _can_leave(item, place, labels)]
            if movable:
                place[movable[0]] = split
            elif split == TRAIN and (pair := _exchangeable(holders, place, labels)):
                place[list(pair)] = place[list(pair[::-1])]
    return place


def _exchangeable(
    holders: Indices, place: NDArray[np.str_], labels: NDArray[np.bool_]
) -> tuple[np.intp, np.intp] | None:
    """One of the items, each alone in its split, and an item of train that can stand there: train loses no label."""
    covered = labels[place == TRAIN].any(axis=0)
    for item in holders:
        for other in np.flatnonzero(place == TRAIN):
            rest = place == TRAIN
            rest[[item, other]] = True, False
            if labels[rest].any(axis=0)[covered].all():
                return item, other
    return None


def _can_leave(item: int, place: NDArray[np.str_], labels: NDArray[np.bool_]) -> bool:
    """Whether what stays in the item's split is not empty and, if that is train, still has all of its labels."""
    rest = place == place[item]
    rest[item] = False
    covered = place[item] != TRAIN or bool((labels[rest].any(axis=0) | ~labels[item]).all())
    return covered and bool(rest.any())


def _draw_groups(
    strata: Indices,
    groups: NDArray[np.str_],
    fractions: Mapping[str, float],
    rng: np.random.Generator,
    *,
    everywhere: bool,
) -> NDArray[np.str_]:
    """Deal whole groups out, so that each split comes as near as it can to its share of every stratum."""
    kinds, members = np.unique(strata, return_inverse=True)
    names, owner = np.unique(groups, return_inverse=True)
    content = np.zeros((len(names), len(kinds)), dtype=np.int64)
    np.add.at(content, (owner, members), 1)
    splits = [TRAIN, *fractions]
    shares = np.array([1.0 - sum(fractions.values()), *fractions.values()])
    dealt = _deal(content, shares, rng, everywhere=everywhere)
    dealt = _repair(dealt, content, len(splits), everywhere=everywhere)
    return np.array(splits, dtype="<U5")[dealt[owner]]


def _deal(content: Indices, shares: NDArray[np.float64], rng: np.random.Generator, *, everywhere: bool) -> Indices:
    """The split of each group, the largest first, to where it is missed most.

    ``everywhere``: before that, strata in few groups first, one group of each stratum goes to each split.
    """
    totals = content.sum(axis=0)
    wanted = shares[:, None] * totals
    have = np.zeros_like(wanted)
    dealt = np.full(len(content), -1, dtype=np.int64)
    shuffled = rng.permutation(len(content))
    order = shuffled[np.argsort(-content[shuffled].sum(axis=1), kind="stable")]

    def give(group: int, split: int) -> None:
        dealt[group] = split
        have[split] += content[group]

    for stratum in np.argsort((content > 0).sum(axis=0), kind="stable") if everywhere else ():
        for split in range(len(shares)):
            free = [group for group in order if dealt[group] < 0 and content[group, stratum]]
            if free and not have[split, stratum]:
                give(int(free[0] if split == 0 else free[-1]), split)
    for group in order:
        if dealt[group] < 0:
            excess = content[group] * (2.0 * (have - wanted) + content[group]) / totals
            give(int(group), int(excess.sum(axis=1).argmin()))
    return dealt


def _repair(dealt: Indices, content: Indices, splits: int, *, everywhere: bool) -> Indices:
    """Give every split at least one group, and train, when ``everywhere``, one of every stratum."""
    dealt = dealt.copy()
    strata = content > 0 if everywhere else np.zeros((len(content), 0), dtype=bool)
    order = np.argsort(content.sum(axis=1), kind="stable")
    for stratum in np.flatnonzero(~strata[dealt == 0].any(axis=0)):
        dealt[next(group for group in order if strata[group, stratum])] = 0
    empty = [split for split in range(splits) if split not in dealt]
    for split in empty:
        spare = next((group for group in order if _can_spare(group, dealt, strata)), None)
        if spare is not None:
            dealt[spare] = split
    if all(split in dealt for split in range(splits)):
        return dealt
    return _only_train_covers(strata, order, splits)


def _can_spare(group: int, dealt: Indices, strata: NDArray[np.bool_]) -> bool:
    """Whether the group's split has another one and, if it is train, still has every stratum."""
    rest = dealt == dealt[group]
    rest[group] = False
    return bool(rest.any()) and (dealt[group] != 0 or bool(strata[rest].any(axis=0).all()))


def _only_train_covers(strata: NDArray[np.bool_], order: Indices, splits: int) -> Indices:
    """One group for each split but train, all others for train, when groups are very few."""
    holders = strata.sum(axis=0)
    for leaving in combinations(order.tolist(), splits - 1):
        if (holders > strata[list(leaving)].sum(axis=0)).all():
            dealt = np.zeros(len(strata), dtype=np.int64)
            dealt[list(leaving)] = np.arange(1, splits)
            return dealt
    raise DataError(
        f"{len(strata)} groups cannot be split into {splits} so that train has every class; "
        "give classes more groups, leave the groups out, or set data.test_fraction=0"
    )


def _check_groups(place: NDArray[np.str_], groups: NDArray[np.str_]) -> None:
    first: dict[str, str] = {}
    for group, split in zip(groups.tolist(), place.tolist(), strict=True):
        if first.setdefault(group, split) != split:
            shown = group.partition(":")[2] or group
            raise DataError(
                f"group {shown!r} is in the given splits {first[group]} and {split}; a group must lie in one split, "
                "or its items say about each other what they should not"
            )
