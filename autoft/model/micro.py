"""Micro-batches: a frozen prefix always runs in batches of one shape, so that each row depends on its sample alone."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

MICRO_BATCH = 32
"""Rows of every prefix and evaluation pass: other batch sizes change bits (engine.md section 3)."""


def in_micro_batches(run: Callable[[dict[str, Tensor]], Tensor], inputs: Mapping[str, Tensor]) -> Tensor:
    """``run`` on micro-batches of the fields, each (B, ...), put together again to B rows."""
    size = len(next(iter(inputs.values())))
    parts = [run(part)[: min(MICRO_BATCH, size - start)] for start, part in micro_batches(inputs, size)]
    return torch.cat(parts)


def micro_batches(inputs: Mapping[str, Tensor], size: int) -> Iterator[tuple[int, dict[str, Tensor]]]:
    """Parts of exactly `MICRO_BATCH` rows; the last one is filled up by repeating its last row."""
    for start in range(0, size, MICRO_BATCH):
        part = {name: field[start : start + MICRO_BATCH] for name, field in inputs.items()}
        missing = start + MICRO_BATCH - size
        if missing > 0:
            part = {name: _filled(field, missing) for name, field in part.items()}
        yield start, part


def padded(size: int) -> int:
    """Rows that are computed for ``size`` rows."""
    return -(-size // MICRO_BATCH) * MICRO_BATCH


def precision(device: torch.device, *, mixed: bool) -> AbstractContextManager[object]:
    """Autocast to bfloat16 inside, if ``mixed``."""
    return torch.autocast(device.type, torch.bfloat16) if mixed else nullcontext()


def _filled(rows: Tensor, missing: int) -> Tensor:
    # One by one: an expanded row would make `cat` forget that the others are channels last.
    return torch.cat([rows, *[rows[-1:]] * missing])
