"""Evaluation: the outputs of a model in eval mode, and their metrics."""

import numpy as np
import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.data.feed import read_ahead
from autoft.data.metrics import Array
from autoft.model import MICRO_BATCH, LoadedModel, Manner, make_ready, set_eval
from autoft.recipe import MemoryFormat
from autoft.training.forward import Forward, seeded
from autoft.training.source import Pixels, Source


def outputs_of(source: Source, forward: Forward, indices: Array) -> Tensor:
    """The raw outputs (len(indices), num_outputs), float32 on the CPU; the model must be in eval mode.

    Where it draws there too, it always draws the same.
    """
    parts = np.split(indices, range(MICRO_BATCH, len(indices), MICRO_BATCH))
    with seeded(0, forward.device):
        return torch.cat([forward.outputs(source.hidden(found)).cpu() for found in read_ahead(parts, source.look)])


def evaluate(
    loaded: LoadedModel,
    data: DataHandle,
    indices: Array,
    *,
    device: str | torch.device | None = None,
    memory_format: MemoryFormat = "contiguous",
) -> dict[str, float]:
    """All metrics of the data's task on the items ``indices``; the arguments are those of `predict`."""
    outputs = predict(loaded, data, indices, device=device, memory_format=memory_format)
    return data.task.metrics(outputs, data.targets[indices])


def predict(
    loaded: LoadedModel,
    data: DataHandle,
    indices: Array,
    *,
    device: str | torch.device | None = None,
    memory_format: MemoryFormat = "contiguous",
) -> Tensor:
    """The raw outputs (len(indices), num_outputs), float32 on the CPU, computed in full precision.

    The model is in eval mode afterwards. On the CPU each item's output is a function of the item alone.

    Args:
        loaded: the model.
        data: the data.
        indices: item numbers, at least one.
        device: where to; by default the model stays where it is.
        memory_format: of images and convolution weights, as the recipe has it; the model keeps it.
    """
    set_eval(loaded)
    manner = Manner(channels_last=memory_format == "channels_last")
    where = next(loaded.module.parameters()).device if device is None else torch.device(device)
    make_ready(loaded.module, where, channels_last=manner.channels_last)
    forward = Forward(loaded, 0, manner)
    return outputs_of(Pixels(None, data, loaded.card, forward), forward, indices)
