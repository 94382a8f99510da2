"""Pooled features of the frozen model at several depths, and what a linear model reads from them."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoft.cache import Prepared
from autoft.cache.probe import walk
from autoft.data import DataHandle, Task
from autoft.data.inputs import as_inputs
from autoft.data.metrics import Array
from autoft.model import MICRO_BATCH, LoadedModel, Manner, micro_batches, set_eval
from autoft.recipe.schema import PENALTY
from autoft.training.linear import solve_linear


class OutOfTimeError(Exception):
    """There was no time left."""


@dataclass(frozen=True)
class Pooled:
    """Reads features of one model, from activations that are kept where they are, else by computing them."""

    loaded: LoadedModel
    """In its base state, on its device."""
    data: DataHandle
    manner: Manner
    prepared: Prepared
    should_stop: Callable[[], bool]

    def read(self, boundaries: Iterable[int], items: Array) -> dict[int, Array]:
        """Features (len(items), channels) after so many groups; boundaries without one tensor are left out.

        Raises:
            OutOfTimeError: ``should_stop`` said so.
        """
        kept = self.prepared.activations
        wanted = sorted(boundaries)
        computed = [boundary for boundary in wanted if boundary not in kept]
        found: dict[int, list[Array]] = {boundary: [] for boundary in wanted}
        set_eval(self.loaded)
        for part in np.split(items, range(MICRO_BATCH, len(items), MICRO_BATCH)):
            if self.should_stop():
                raise OutOfTimeError
            for boundary in set(wanted) & set(kept):
                found[boundary].append(self._pool(kept[boundary].read(part)))
            for boundary, rows in self._computed(part, computed):
                found[boundary].append(self._pool(rows))
        return {boundary: np.concatenate(parts) for boundary, parts in found.items() if parts}

    def _computed(self, part: Array, boundaries: list[int]) -> Iterator[tuple[int, Tensor]]:
        if not boundaries:
            return
        device = next(self.loaded.module.parameters()).device
        moved = {name: field.to(device) for name, field in self.data.read(part).items()}
        inputs = as_inputs(moved, self.data, self.loaded.card, channels_last=self.manner.channels_last)
        for _, batch in micro_batches(inputs, len(part)):
            for boundary, rows in walk(self.loaded, batch, boundaries, self.manner):
                if isinstance(rows, Tensor):
                    yield boundary, rows[: len(part)]

    def _pool(self, rows: Tensor) -> Array:
        """The mean over places: of (B, C, H, W), of (B, H, W, C) as Swin has it, of (B, tokens, C)."""
        rows = rows.detach().float()
        match rows.dim():
            case 4 if self.loaded.card.family == "swin":
                rows = rows.mean(dim=(1, 2))
            case 3:
                rows = rows.mean(dim=1)
            case _:
                rows = rows.flatten(2).mean(dim=2) if rows.dim() > 2 else rows
        pooled: Array = rows.reshape(len(rows), -1).cpu().double().numpy()
        return pooled


def linear_scores(task: Task, train: tuple[Array, Array], val: tuple[Array, Array]) -> Mapping[str, float]:
    """All metrics on ``val`` of a linear model fitted to ``train`` (`solve_linear`), each features and targets."""
    weight, bias = solve_linear(task, *train, penalty=PENALTY)
    features, truth = val
    return task.metrics(torch.from_numpy(features @ weight.T + bias), truth)
