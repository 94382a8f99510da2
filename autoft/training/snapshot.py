"""Snapshots: what a trial can have changed in a model, copied and put back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoft.model import LayerGroup, named_tensors
from autoft.record import Evaluation


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The weights and buffers that gave an evaluation, and the optimizer's state at that moment."""

    evaluation: Evaluation
    weights: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    average: Mapping[str, Tensor] = field(default_factory=dict)
    """Of the weights at that moment, where one is kept beside them: it was not evaluated."""


def live_tensors(module: nn.Module, groups: Iterable[LayerGroup]) -> dict[str, Tensor]:
    """The parameters and buffers of ``groups`` by name, not copied."""
    tensors = named_tensors(module)
    return {name: tensors[name] for group in groups for name in (*group.parameters, *group.buffers)}


def copy_of(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that no training step can reach."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@torch.no_grad()
def put_back(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy ``tensors`` into the parameters and buffers of the same names."""
    live = named_tensors(module)
    for name, tensor in tensors.items():
        live[name].copy_(tensor)
