"""Held-out parts for confirmation: other items than those that chose, the same for all who are compared."""

import autoft.data.sklearn_alone  # noqa: F401 - before anything else imports scikit-learn

# isort: split
import warnings
from dataclasses import replace
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

from autoft.data.handle import DataHandle
from autoft.streams import stream_seed

FEW_ITEMS = 2000
"""With fewer items to train and validate on, each run holds out another fold of them."""


def fold_count(data: DataHandle) -> int:
    """How many folds of train and val are about as large as val; 0 where there are enough items to keep the split.

    Each fold takes whole groups, so there are never more folds than groups.
    """
    val, items = len(data.splits.val), len(data.splits.train) + len(data.splits.val)
    if items >= FEW_ITEMS:
        return 0
    units = items if data.groups is None else len(np.unique(data.groups[_pool(data)]))
    count = min(max(2, round(items / max(1, val))), units)
    return count if count >= 2 else 0


def held_out(data: DataHandle, run: int, *, seed: int) -> DataHandle:
    """The data of a confirmation run: fold ``run`` of train and val is its val, the rest its train; test stays.

    Where there are enough items the split stays. Folds are stratified and keep groups together; they are a function of
    items and seed, so every recipe is compared on the same ones. After the last fold the first one comes again.
    """
    folds = fold_count(data)
    if not folds:
        return data
    pool = _pool(data)
    places = fold_places(
        data.task.strata(data.targets)[pool],
        None if data.groups is None else data.groups[pool],
        folds,
        seed=stream_seed(seed, "folds", data.fingerprint) % 2**32,
    )
    val = places == run % folds
    name = f"{data.fingerprint} {seed} fold {run % folds} of {folds}"
    return replace(
        data,
        splits=replace(data.splits, train=pool[~val], val=pool[val]),
        fingerprint=blake2b(name.encode(), digest_size=8).hexdigest(),
    )


def fold_places(
    strata: NDArray[np.int64], groups: NDArray[np.str_] | None, folds: int, *, seed: int
) -> NDArray[np.int64]:
    """The fold of each item (n,), drawn by scikit-learn; not stratified where every stratum is smaller than that."""
    rare = np.bincount(np.unique(strata, return_inverse=True)[1]).max() < folds
    if rare:
        strata = np.zeros_like(strata)
    kind = StratifiedGroupKFold if groups is not None else KFold if rare else StratifiedKFold
    places = np.zeros(len(strata), dtype=np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a class has fewer items than there are folds
        drawn = kind(folds, shuffle=True, random_state=seed).split(places, strata, groups)
        for fold, (_, val) in enumerate(drawn):
            places[val] = fold
    return places


def _pool(data: DataHandle) -> NDArray[np.int64]:
    return np.sort(np.concatenate([data.splits.train, data.splits.val]))
