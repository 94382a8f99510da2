"""Evaluation: the outputs of a model in eval mode, and their metrics."""

import numpy as np
import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.data.augment import normalise
from autoft.data.feed import read_ahead
from autoft.data.metrics import Array
from autoft.model import LoadedModel, set_eval
from autoft.record import ModelCard
from autoft.training.forward import MICRO_BATCH, Forward, Inputs


def as_inputs(fields: Inputs, data: DataHandle, card: ModelCard) -> dict[str, Tensor]:
    """What the model takes: decoded images normalised, other fields as they are."""
    if not data.spec.image:
        return dict(fields)
    return {name: normalise(field, card.mean, card.std) for name, field in fields.items()}


def outputs_of(forward: Forward, loaded: LoadedModel, data: DataHandle, indices: Array) -> Tensor:
    """The raw outputs (len(indices), num_outputs), float32 on the CPU; the model must be in eval mode."""
    device = forward.device
    parts = np.split(indices, range(MICRO_BATCH, len(indices), MICRO_BATCH))
    outputs = [
        forward.outputs(as_inputs({name: field.to(device) for name, field in fields.items()}, data, loaded.card)).cpu()
        for fields in read_ahead(parts, data.read)
    ]
    return torch.cat(outputs)


def evaluate(
    loaded: LoadedModel, data: DataHandle, indices: Array, *, device: str | torch.device | None = None
) -> dict[str, float]:
    """All metrics of the data's task on the items ``indices``, in full precision.

    The model is in eval mode afterwards. On the CPU each item's output is a function of the item alone.

    Args:
        loaded: the model.
        data: the data.
        indices: item numbers, at least one.
        device: where to; by default the model stays where it is.
    """
    if device is not None:
        loaded.module.to(device)
    set_eval(loaded)
    outputs = outputs_of(Forward(loaded, 0), loaded, data, indices)
    return data.task.metrics(outputs, data.targets[indices])
