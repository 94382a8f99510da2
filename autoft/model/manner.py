"""How a model is run: what its results depend on bit by bit, besides weights and inputs."""

from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from autoft.model.micro import precision
from autoft.recipe import Optimisation


@dataclass(frozen=True, slots=True)
class Manner:
    """Precision and memory layout, as a recipe's `Optimisation` asks for them."""

    mixed: bool = False
    """Autocast to bfloat16."""
    channels_last: bool = False
    """Layout of images and convolution weights; else contiguous."""
    half: bool = False
    """Round the activations after a frozen prefix to half precision."""

    @classmethod
    def of(cls, optimisation: Optimisation, device: torch.device) -> "Manner":
        """What a recipe asks for on this device; a ``memory_format`` that nobody has chosen is contiguous."""
        return cls(
            mixed=device.type == "cuda" and optimisation.amp == "auto",
            channels_last=optimisation.memory_format == "channels_last",
            half=optimisation.boundary_dtype == "float16",
        )

    def precision(self, device: torch.device) -> AbstractContextManager[object]:
        """The context that a forward pass runs in."""
        return precision(device, mixed=self.mixed)

    def at_boundary(self, rows: Tensor) -> Tensor:
        """Rows of a frozen prefix as the tail gets them, in the type they have."""
        return halved(rows).to(rows.dtype) if self.half else rows


def halved(rows: Tensor) -> Tensor:
    """Floats of more than two bytes as float16: relative error at most 2**-11 from 6e-5 up, at most 6e-8 below.

    Beyond 65504, the largest half-precision number, they become that number. Types of two bytes stay as they are.
    """
    if rows.dtype.itemsize <= 2:
        return rows
    most = torch.finfo(torch.float16).max
    return rows.clamp(-most, most).to(torch.float16)
