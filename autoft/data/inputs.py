"""From decoded items to what a model takes."""

from collections.abc import Mapping

import torch
from torch import Tensor

from autoft.data.augment import normalise
from autoft.data.handle import DataHandle
from autoft.record import ModelCard


def as_inputs(
    fields: Mapping[str, Tensor], data: DataHandle, card: ModelCard, *, channels_last: bool = False
) -> dict[str, Tensor]:
    """What the model takes: decoded images normalised, other fields as they are.

    Args:
        fields: decoded items.
        data: says whether they are images.
        card: mean and standard deviation.
        channels_last: the memory layout of four-dimensional fields; else contiguous.
    """
    form = torch.channels_last if channels_last else torch.contiguous_format
    if data.spec.image:
        fields = {name: normalise(field, card.mean, card.std) for name, field in fields.items()}
    return {name: f.contiguous(memory_format=form) if f.dim() == 4 else f for name, f in fields.items()}
