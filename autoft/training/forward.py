"""The forward pass in two parts: the prefix that no stage has trained so far, and the tail that trains."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TypeAlias

import torch
from torch import Tensor

from autoft.model import LoadedModel, model_input

Inputs: TypeAlias = Mapping[str, Tensor]

MICRO_BATCH = 32
"""Rows of every prefix and evaluation pass: other batch sizes change bits (engine.md section 3)."""


class Forward:
    """A model cut at ``boundary``: ``tail(prefix(inputs))`` is its output.

    The prefix is in eval mode and always runs in micro-batches of one fixed shape, so that on the CPU each of its
    rows is a function of the sample alone. Whoever has those rows already can leave it out.

    Args:
        loaded: the model, on its device.
        boundary: number of leading groups whose weights are the base's; 0 for a model that cannot be cut.
        mixed_precision: autocast to bfloat16.
    """

    def __init__(self, loaded: LoadedModel, boundary: int, *, mixed_precision: bool = False) -> None:
        self.boundary = boundary
        self.device = next(loaded.module.parameters()).device
        """Where the model was when this was made, and where inputs must be."""
        self._loaded = loaded
        self._mixed = mixed_precision

    @torch.no_grad()
    def prefix(self, inputs: Inputs) -> Tensor | Inputs:
        """The activation at the boundary, (B, ...), or the inputs themselves where there is no prefix."""
        if self.boundary == 0:
            return inputs
        with self._precision():
            return _in_micro_batches(lambda part: self._loaded.chain.run(model_input(part), 0, self.boundary), inputs)

    def tail(self, hidden: Tensor | Inputs) -> Tensor:
        """The outputs (B, num_outputs) from the activation at the boundary."""
        chain = self._loaded.chain
        entering = hidden if isinstance(hidden, Tensor) else model_input(hidden)
        with self._precision():
            outputs: Tensor = chain.run(entering, self.boundary, len(chain))
        return outputs

    @torch.no_grad()
    def outputs(self, inputs: Inputs) -> Tensor:
        """The outputs (B, num_outputs), float32, of a model in eval mode, all of it in micro-batches."""
        return _in_micro_batches(lambda part: self.tail(self.prefix(part)).float(), inputs)

    def _precision(self) -> AbstractContextManager[object]:
        return torch.autocast(self.device.type, torch.bfloat16) if self._mixed else nullcontext()


def _in_micro_batches(run: Callable[[Inputs], Tensor], inputs: Inputs) -> Tensor:
    size = len(next(iter(inputs.values())))
    parts = [run(part)[: min(MICRO_BATCH, size - start)] for start, part in _micro_batches(inputs, size)]
    return torch.cat(parts)


def _micro_batches(inputs: Inputs, size: int) -> Iterator[tuple[int, Inputs]]:
    """Parts of exactly `MICRO_BATCH` rows; the last one is filled up by repeating its last row."""
    for start in range(0, size, MICRO_BATCH):
        part = {name: field[start : start + MICRO_BATCH] for name, field in inputs.items()}
        missing = start + MICRO_BATCH - size
        if missing > 0:
            part = {name: _filled(field, missing) for name, field in part.items()}
        yield start, part


def _filled(rows: Tensor, missing: int) -> Tensor:
    return torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Draw dropout and drop path from ``seed``; the generators of the process are as before afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
