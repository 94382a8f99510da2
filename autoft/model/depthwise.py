"""Weight gradients of depthwise convolutions on the CPU, several times as fast as torch's where kernels are wide.

torch's kernel for them is quick up to a width of three and slow beyond (by a factor of 2 to 10 for 5x5 and 7x7 on maps
of up to 28 pixels, where it takes up to half of a training step of an EfficientNet's upper groups). A wide kernel's
gradient is that of stripes of three columns, each on the input moved by as much.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_STRIPE = 3
_TRANSPOSED = False
_WIDEST_STRIDED = 32
"""Columns of input up to which stripes pay where the convolution leaves out columns."""


@contextmanager
def quick_gradients(device: torch.device) -> Iterator[None]:
    """Let depthwise convolutions that are called inside take their weight gradients in stripes, on a CPU.

    What they give is as before, bit for bit; the gradient's sums are taken in another order.
    """
    if device.type != "cpu" or not torch.is_grad_enabled():
        yield
        return
    with _Stripes():
        yield


class _Stripes(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if func is functional.conv2d and not kwargs and len(args) == 7 and _pays(*args):
            return _Depthwise.apply(*args[:6])
        return func(*args, **(kwargs or {}))


def _pays(x: Tensor, weight: Tensor, _bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> bool:
    """Whether a call of conv2d is depthwise, trains a wide kernel, and is of a kind for which stripes are quicker."""
    depthwise = groups == x.shape[-3] == weight.shape[0] > 1 and weight.shape[3] > _STRIPE
    if not depthwise or x.dim() != 4 or x.dtype is not torch.float32 or not weight.requires_grad:
        return False
    plain = isinstance(stride, tuple) and isinstance(padding, tuple) and tuple(dilation) == (1, 1)
    return plain and (tuple(stride) == (1, 1) or x.shape[3] + 2 * padding[1] <= _WIDEST_STRIDED)


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with a gradient of its own."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, x: Tensor, weight: Tensor, bias: Tensor | None, stride: Any, padding: Any, dilation: Any
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.how = (stride, padding, dilation)  # type: ignore[attr-defined]
        return functional.conv2d(x, weight, bias, stride, padding, dilation, x.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slopes: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, _ = ctx.how
        of_input, of_bias = _gradients(
            slopes, x, weight, stride, padding, (ctx.needs_input_grad[0], False, ctx.needs_input_grad[2])
        )[::2]
        return of_input, _in_stripes(slopes, x, weight, stride, padding), of_bias, None, None, None


def _in_stripes(slopes: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any) -> Tensor:
    """The weight's gradient; the input is padded first, for the quick kernel takes no wide padding."""
    down, across = padding
    padded = functional.pad(x, (across, across, down, down)) if down or across else x
    reach = stride[1] * (slopes.shape[3] - 1) + _STRIPE
    width, gradient = weight.shape[3], torch.empty_like(weight)
    for first in sorted({min(column, width - _STRIPE) for column in range(0, width, _STRIPE)}):
        own = slice(first, first + _STRIPE)
        part = padded[:, :, :, first : first + reach]
        gradient[..., own] = _gradients(slopes, part, weight[..., own], stride, (0, 0), (False, True, False))[1]
    return gradient


def _gradients(
    slopes: Tensor, x: Tensor, weight: Tensor, stride: Any, padding: Any, wanted: tuple[bool, bool, bool]
) -> tuple[Tensor, Tensor, Tensor]:
    """Of input, weight and bias, as torch takes them."""
    found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        slopes, x, weight, [len(weight)], stride, padding, (1, 1), _TRANSPOSED, (0, 0), x.shape[1], wanted
    )
    return found
