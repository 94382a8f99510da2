"""The memory layout of images and of convolution weights: it decides speed, and on some kernels bits."""

import torch
from torch import Tensor, nn


def lay_out(module: nn.Module, *, channels_last: bool) -> None:
    """Give all four-dimensional parameters and buffers of a module one layout, in place; no value changes."""
    for tensor in (*module.parameters(), *module.buffers()):
        tensor.data = laid_out(tensor.data, channels_last=channels_last)


def laid_out(tensor: Tensor, *, channels_last: bool) -> Tensor:
    """A tensor in the layout; the tensor itself where it has it, or has not four dimensions."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    return tensor.contiguous(memory_format=form) if tensor.dim() == 4 else tensor
