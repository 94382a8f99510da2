"""The forward pass in two parts: the prefix that no stage has trained so far, and the tail that trains."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from autoft.model import LoadedModel, Manner, in_micro_batches, model_input, quick_gradients

Inputs: TypeAlias = Mapping[str, Tensor]


class Forward:
    """A model cut at ``boundary``: ``tail(prefix(inputs))`` is its output.

    The prefix is in eval mode and always runs in micro-batches of one fixed shape, so that on the CPU each of its
    rows is a function of the sample alone. Whoever has those rows already can leave it out.

    Args:
        loaded: the model, on its device and in the layout of ``manner``.
        boundary: number of leading groups whose weights are the base's; 0 for a model that cannot be cut.
        manner: how both parts run.
    """

    def __init__(self, loaded: LoadedModel, boundary: int, manner: Manner | None = None) -> None:
        self.boundary = boundary
        self.device = next(loaded.module.parameters()).device
        """Where the model was when this was made, and where inputs must be."""
        self.manner = manner or Manner()
        self._loaded = loaded

    @torch.no_grad()
    def prefix(self, inputs: Inputs) -> Tensor | Inputs:
        """The activation at the boundary, (B, ...), as the manner rounds it, or the inputs where there is no prefix."""
        if self.boundary == 0:
            return inputs
        with self.manner.precision(self.device), _at_rest(self._loaded.module):
            rows = in_micro_batches(lambda part: self._loaded.chain.run(model_input(part), 0, self.boundary), inputs)
        return self.manner.at_boundary(rows)

    def tail(self, hidden: Tensor | Inputs) -> Tensor:
        """The outputs (B, num_outputs) from the activation at the boundary."""
        chain = self._loaded.chain
        entering = hidden if isinstance(hidden, Tensor) else model_input(hidden)
        with self.manner.precision(self.device), quick_gradients(self.device):
            outputs: Tensor = chain.run(entering, self.boundary, len(chain))
        return outputs

    @torch.no_grad()
    def outputs(self, hidden: Tensor | Inputs) -> Tensor:
        """The outputs (B, num_outputs), float32, of a model in eval mode, from the activation at the boundary.

        The tail runs in micro-batches as the prefix does.
        """
        if isinstance(hidden, Tensor):
            return in_micro_batches(lambda part: self.tail(part["hidden"]).float(), {"hidden": hidden})
        return in_micro_batches(lambda part: self.tail(part).float(), hidden)


@contextmanager
def _at_rest(root: nn.Module) -> Iterator[None]:
    """The root in eval mode: while the tail trains it trains too, and a dropout of its own may lie in the prefix."""
    before, root.training = root.training, False
    try:
        yield
    finally:
        root.training = before


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw dropout and drop path from ``seed``; the generators of the process are as before afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
