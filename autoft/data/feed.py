"""The feed: which items make up the batches of an epoch, and reading ahead of the training."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch

from autoft.data.metrics import Array
from autoft.recipe import DataConfig
from autoft.streams import stream

T = TypeVar("T")
R = TypeVar("R")


def epoch_batches(
    train_idx: Array, targets: Array, config: DataConfig, *, seed: int, stage: str, epoch: int
) -> list[Array]:
    """The batches of one epoch: arrays of item numbers, a function of the arguments alone.

    The stage counts by its name, so stages shared by two recipes see the same order whatever follows them.
    A last batch of one item joins the batch before it (batch statistics need two).

    Args:
        train_idx: item numbers of the training split, (n,).
        targets: of *all* items; only the balanced sampler reads them, and needs class numbers.
        config: batch size and sampler.
        seed: the recipe's.
        stage: name of the stage.
        epoch: within the stage.
    """
    rng = stream(seed, "order", stage, epoch)
    order = _balanced(train_idx, targets, rng) if config.sampler == "balanced" else rng.permutation(train_idx)
    cuts = list(range(config.batch_size, len(order), config.batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        cuts.pop()
    return np.split(order, cuts)


def _balanced(train_idx: Array, targets: Array, rng: np.random.Generator) -> Array:
    """As many draws as items, with replacement, each class in its turn."""
    classes, members = np.unique(targets[train_idx], return_inverse=True)
    by_class = [train_idx[members == number] for number in range(len(classes))]
    turns = np.resize(rng.permutation(len(classes)), len(train_idx))
    drawn = np.empty_like(train_idx)
    for number, items in enumerate(by_class):
        places = turns == number
        drawn[places] = rng.choice(items, size=int(places.sum()))
    return drawn


def read_ahead(batches: Iterable[T], read: Callable[[T], R], *, hands: int = 1) -> Iterator[R]:
    """Yield ``read(batch)`` in order, the next ones being read in so many threads while this one is used.

    ``read`` must be a function of its batch alone. An error in it is raised where its result is due.
    """
    # Each thread has to be told: some kernels would else use all cores there, and give other bits.
    told: dict[str, Any] = {"initializer": torch.set_num_threads, "initargs": (torch.get_num_threads(),)}
    with ThreadPoolExecutor(max_workers=hands, thread_name_prefix="autoft-feed", **told) as pool:
        pending: deque[Future[R]] = deque()
        for batch in batches:
            pending.append(pool.submit(read, batch))
            if len(pending) > hands:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
