"""One forward pass, watched: the order of the calls and the multiply-adds of every module."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from autoft.errors import ModelError
from autoft.model.inputs import ModelInput, call


@dataclass(frozen=True)
class Trace:
    """What a forward pass in eval mode did."""

    output: Any
    order: tuple[str, ...]
    """Names of the modules called, in the order of their first call; a parent comes before its children."""
    multiply_adds: dict[str, int] = field(default_factory=dict)
    """Per module and for the whole batch; modules that multiply nothing are left out."""


def trace(module: nn.Module, x: ModelInput) -> Trace:
    """Run ``module`` once, without gradients and in the modes it is in.

    Counted are convolutions, linear and recurrent layers, attention; what is written as a bare matrix product is
    not. The modules may be on the meta device.
    """
    order: dict[str, None] = {}
    counts: dict[str, int] = {}
    handles = []
    for name, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(_note_order(name, order)))
        handles.append(part.register_forward_hook(_count(name, counts), with_kwargs=True))
    try:
        with torch.no_grad():
            output = call(module, x)
    finally:
        for handle in handles:
            handle.remove()
    return Trace(output, tuple(order), counts)


def watch(name: str, module: nn.Module, x: ModelInput) -> Trace:
    """As `trace`, for a module that may not take such input.

    Raises:
        ModelError: it does not.
    """
    try:
        return trace(module, x)
    except (RuntimeError, TypeError, ValueError, AttributeError, LookupError, AssertionError) as error:
        fields = {"input": x} if isinstance(x, Tensor) else x
        shapes = ", ".join(f"{field} {tuple(tensor.shape)}" for field, tensor in fields.items())
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{name}: does not run on {shapes}: {text}; {_remedy(fields, module)}") from error


def _remedy(fields: Mapping[str, Tensor], module: nn.Module) -> str:
    """What to do about input that a module does not take."""
    other = {part.dtype for part in module.parameters() if part.is_floating_point()} - {torch.float32}
    if other:
        kinds = ", ".join(sorted(str(kind).removeprefix("torch.") for kind in other))
        return f"it has parameters of type {kinds}, and is fed with float32: call .float() on it"
    images = [tensor.shape for tensor in fields.values() if tensor.dim() == 4]
    if any(shape[1] > 4 >= shape[3] for shape in images):
        return "feed what it takes; if these are images (H, W, C), give them as (C, H, W), or as uint8"
    own = "choose another data.image_size, or feed what it takes (decoded images have three channels)"
    return own if images else "feed what it takes"


def _note_order(name: str, order: dict[str, None]) -> Any:
    def note(_module: nn.Module, _arguments: object) -> None:
        order.setdefault(name)

    return note


def _count(name: str, counts: dict[str, int]) -> Any:
    def count(part: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        given = next((value for value in (*arguments, *keywords.values()) if isinstance(value, Tensor)), None)
        if given is not None and (products := multiply_adds(part, given, output)):
            counts[name] = counts.get(name, 0) + products

    return count


def multiply_adds(part: nn.Module, given: Tensor, output: Any) -> int:
    """Multiply-adds of this module itself, without its children, for one call."""
    result = output[0] if isinstance(output, tuple) else output
    match part:
        case nn.modules.conv._ConvTransposeNd():
            products = given.numel() * part.out_channels // part.groups * math.prod(part.kernel_size)
        case nn.modules.conv._ConvNd() if isinstance(result, Tensor):
            products = result.numel() * part.in_channels // part.groups * math.prod(part.kernel_size)
        case nn.Linear() if isinstance(result, Tensor):
            products = result.numel() * part.in_features
        case nn.RNNBase():
            products = given.numel() // given.shape[-1] * sum(weight.numel() for weight in part.parameters())
        case nn.MultiheadAttention():
            batch, length = (given.shape[0], given.shape[1]) if given.dim() == 3 else (1, given.shape[0])
            products = batch * length * part.embed_dim * (4 * part.embed_dim + 2 * length)
        case _ if isinstance(getattr(part, "num_heads", None), int) and hasattr(part, "qkv") and given.dim() == 3:
            products = 2 * given.shape[0] * given.shape[1] ** 2 * given.shape[2]
        case _:
            products = 0
    return int(products)
