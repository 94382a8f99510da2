"""An exponential moving average of what trains, evaluated and kept in the place of the raw weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class WeightAverage:
    """Average of named tensors; the tensors themselves stay where they are.

    The decay after step ``t`` (1 for the first) is ``min(decay, (1 + t) / (10 + t))``, so that the average
    of a short stage does not stay at its start (as TensorFlow's ExponentialMovingAverage with num_updates).
    """

    def __init__(self, live: Mapping[str, Tensor], decay: float) -> None:
        self._live = dict(live)
        self._decay = decay
        self.values = {name: tensor.detach().clone() for name, tensor in live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the live tensors after the stage's ``step``-th step (1 for the first)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        live = [self._live[name].detach() for name in self.values]
        get_ema_multi_avg_fn(decay)(list(self.values.values()), live, step)  # type: ignore[no-untyped-call]

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the live tensors hold the average; afterwards their own values again, bit for bit."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def load(self, values: Mapping[str, Tensor]) -> None:
        """Continue from saved averages."""
        for name, average in self.values.items():
            average.copy_(values[name])

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, average in self.values.items():
            kept = self._live[name].detach().clone()
            self._live[name].copy_(average)
            average.copy_(kept)
