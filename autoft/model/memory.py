"""Memory formats: the names of how images and convolution weights lie in memory (see `autoft.model.layout`)."""

from typing import Literal, TypeAlias

from torch import nn

MemoryFormat: TypeAlias = Literal["contiguous", "channels_last"]


def memory_formats(module: nn.Module) -> tuple[MemoryFormat, ...]:
    """The memory formats that make a difference to the module: channels_last is for convolutions over images."""
    convolves = any(parameter.dim() == 4 for parameter in module.parameters())
    return ("contiguous", "channels_last") if convolves else ("contiguous",)
