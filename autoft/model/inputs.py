"""What a module is called with: one tensor, or a dict of tensors."""

import inspect
from collections.abc import Mapping
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor, nn

ModelInput: TypeAlias = Tensor | Mapping[str, Tensor]


def model_input(fields: Mapping[str, Tensor]) -> ModelInput:
    """The argument of a module for the fields of a batch: ``{"input": tensor}`` is the tensor, all else a dict."""
    return fields["input"] if set(fields) == {"input"} else dict(fields)


def call(module: nn.Module, x: ModelInput) -> Any:
    """Run the module. A dict goes in as it is if ``forward`` has one parameter, else as keyword arguments."""
    if isinstance(x, Mapping) and _takes_keywords(module):
        return module(**x)
    return module(x)


def example_images(image_size: int, *, batch: int = 2, device: str = "cpu") -> dict[str, Tensor]:
    """Noise (batch, 3, image_size, image_size), always the same."""
    shape = (batch, 3, image_size, image_size)
    if device == "meta":
        return {"input": torch.empty(shape, device=device)}
    return {"input": torch.randn(shape, generator=torch.Generator().manual_seed(0))}


def _takes_keywords(module: nn.Module) -> bool:
    parameters = inspect.signature(cast("Any", module.forward)).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return True
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]
    return len(named) > 1
