"""The memory layout of images and of convolution weights: it decides speed, and on some kernels bits."""

from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_READY: WeakKeyDictionary[nn.Module, tuple[torch.device, bool]] = WeakKeyDictionary()
"""What was done to modules: looking at all tensors takes longer than forking a trial."""


def make_ready(module: nn.Module, device: torch.device, *, channels_last: bool) -> None:
    """Put a module on a device and in a layout; nothing is done where it was already."""
    if _READY.get(module) != (device, channels_last):
        module.to(device)
        _lay_out(module, channels_last=channels_last)
        _READY[module] = device, channels_last


def _lay_out(module: nn.Module, *, channels_last: bool) -> None:
    """Give all four-dimensional parameters and buffers of a module one layout, in place; no value changes."""
    tensors = [tensor for tensor in (*module.parameters(), *module.buffers()) if tensor.dim() == 4]
    form = torch.channels_last if channels_last else torch.contiguous_format
    for tensor in tensors:
        if not tensor.is_contiguous(memory_format=form):
            tensor.data = laid_out(tensor.data, channels_last=channels_last)


def laid_out(tensor: Tensor, *, channels_last: bool) -> Tensor:
    """A tensor in the layout; the tensor itself where it has it, or has not four dimensions."""
    form = torch.channels_last if channels_last else torch.contiguous_format
    return tensor.contiguous(memory_format=form) if tensor.dim() == 4 else tensor
