"""Forgetting: how far a fine-tuned backbone has moved from the pretrained one, without the pretraining data.

Everything is measured on held-out items of the new task: what the original classifier, where the weights have one,
still says of them, and what became of the features that enter the head.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoft.data.metrics import Array
from autoft.errors import ModelError
from autoft.model import LoadedModel, OriginalHead, named_tensors
from autoft.streams import stream
from autoft.training.scoring import Scorer
from autoft.training.similarity import LEAST_ITEMS, drift, linear_cka, shared_neighbours

MOST_ITEMS = 256
"""Validation items that are looked at; the standard error of an agreement is then 3 points at most."""


@dataclass(frozen=True, slots=True)
class Forgetting:
    """What is left of the pretrained representation."""

    retention: float
    """0 to 1, 1 for a frozen backbone: `agreement` where there is an original classifier, else `cka`."""
    agreement: float | None
    """Share of items to which the original classifier gives the same class as before; None without one."""
    kl: float | None
    """Mean Kullback-Leibler divergence of its probabilities from those before, in nats; None without one."""
    cka: float
    """Linear centred kernel alignment of the features with the pretrained ones, 0 to 1."""
    drift: float
    """Length of the features' change, relative to the pretrained ones."""
    neighbours: float
    """Share of the ten nearest neighbours of an item that are the same as before, 0 to 1."""
    distance: Mapping[str, float]
    """Distance of the weights from the start, relative to their length there, by layer group below the head."""
    items: int
    """That were looked at."""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)


class ForgettingMeter:
    """Compares weights with the pretrained ones, one pass over the items for each.

    Args:
        scorer: of a model and data, of which validation items are taken, drawn from (0, "forgetting").
        head: the classifier that the model was pretrained with, on the features that enter its head.

    Raises:
        ModelError: there are too few validation items.
    """

    def __init__(self, scorer: Scorer, *, head: OriginalHead | None = None) -> None:
        self._scorer, self._head = scorer, head
        self.items = _some(scorer.data.splits.val)
        if len(self.items) < LEAST_ITEMS:
            raise ModelError(
                f"forgetting: needs at least {LEAST_ITEMS} validation items, got {len(self.items)}; "
                "raise data.val_fraction or set search.forgetting: off"
            )

    def measure(self, weights: Mapping[str, Tensor]) -> Forgetting:
        """What these weights have kept.

        Args:
            weights: what differs from the base, as `autoft.training.load_weights` takes it.

        Raises:
            ModelError: the head is not called once per pass, on one tensor.
        """
        loaded = self._scorer.loaded
        head = {*loaded.groups[-1].parameters, *loaded.groups[-1].buffers}
        start = self._start
        now = start if weights.keys() <= head else self._scorer.features(weights, self.items)
        before, after = self._asked(start), self._asked(now)
        cka = linear_cka(start.flatten(1), now.flatten(1))
        agreement = None if before is None or after is None else _agreement(before, after)
        return Forgetting(
            retention=cka if agreement is None else agreement,
            agreement=agreement,
            kl=None if before is None or after is None else _divergence(before, after),
            cka=cka,
            drift=drift(start, now),
            neighbours=shared_neighbours(start.flatten(1), now.flatten(1)),
            distance=distances(loaded, weights),
            items=len(self.items),
        )

    @cached_property
    def _start(self) -> Tensor:
        return self._scorer.features({}, self.items)

    def _asked(self, features: Tensor) -> Tensor | None:
        """Log probabilities (n, classes) by the original classifier."""
        if self._head is None or features.dim() != 2:
            return None
        return self._head.logits(features).log_softmax(dim=1)


def distances(loaded: LoadedModel, weights: Mapping[str, Tensor]) -> dict[str, float]:
    """Distance of the parameters of each group below the head from the base's, relative to their length there."""
    base = named_tensors(loaded.base.module)
    now = {**base, **weights}
    return {
        group.name: drift(_flat(base[name] for name in group.parameters), _flat(now[name] for name in group.parameters))
        for group in loaded.groups[:-1]
    }


def _flat(tensors: Iterable[Tensor]) -> Tensor:
    return torch.cat([torch.zeros(0), *(tensor.detach().cpu().flatten() for tensor in tensors)]).double()


def _some(items: Array) -> Array:
    if len(items) <= MOST_ITEMS:
        return items
    chosen = stream(0, "forgetting").choice(len(items), MOST_ITEMS, replace=False)
    return items[np.sort(chosen)]


def _agreement(before: Tensor, after: Tensor) -> float:
    return float((before.argmax(dim=1) == after.argmax(dim=1)).double().mean())


def _divergence(before: Tensor, after: Tensor) -> float:
    return float((before.exp() * (before - after)).sum(dim=1).mean())
