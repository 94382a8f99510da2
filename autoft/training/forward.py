"""The forward pass in two parts: the prefix that no stage has trained so far, and the tail that trains."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor, nn

from autoft.model import LoadedModel, Manner, in_micro_batches, model_input, quick_gradients
from autoft.model.groups import upwards

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
        self._below = _below(loaded, boundary)

    @torch.no_grad()
    def prefix(self, inputs: Inputs) -> Tensor | Inputs:
        """The activation at the boundary, (B, ...), as the manner rounds it, or the inputs where there is no prefix."""
        if self.boundary == 0:
            return inputs
        with self.manner.precision(self.device), _at_rest(self._below):
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


def _below(loaded: LoadedModel, boundary: int) -> list[nn.Module]:
    """The modules of the groups below the boundary, and those around them."""
    names: set[str] = set()
    for name, groups in loaded.homes.items():
        if min(groups) < boundary:
            names.update(upwards(name))
    return [part for name, part in loaded.module.named_modules() if name in names]


@contextmanager
def _at_rest(parts: Iterable[nn.Module]) -> Iterator[None]:
    """In eval mode: modules around both parts train with the tail, and a dropout of theirs may lie in the prefix."""
    awake = [part for part in parts if part.training]
    for part in awake:
        part.training = False
    try:
        yield
    finally:
        for part in awake:
            part.training = True


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw dropout and drop path from ``seed``; the generators of the process are as before afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
