"""What a model looks like, told without its weights."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from autoft.errors import ModelError
from autoft.model.base import rest
from autoft.model.build import build, pretrained_cfg
from autoft.model.cards import Origin, make_card
from autoft.model.groups import LayerGroup, find_groups, homes_of
from autoft.model.head import drawn_from, head_names, head_width
from autoft.model.inputs import example_images, model_input
from autoft.model.load import load_model
from autoft.model.trace import Trace, watch
from autoft.recipe import ModelConfig
from autoft.record import ModelCard

_LARGE = 100_000_000
"""Parameters from which on a forward pass takes longer than to import what torch needs for one on the meta device."""
_DRAWS = (Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.mul_, Tensor.add_, Tensor.clamp_)


@dataclass(frozen=True, slots=True)
class Description:
    """The card of a model, and how it is cut into segments."""

    card: ModelCard
    groups: tuple[LayerGroup, ...]
    cut: str
    """``cutter``, ``sequential``, ``segments()``, ``traced``, or ``opaque`` for a model that stays in one piece."""
    why_not: str | None
    """Why it could not be cut."""


def describe(
    config: ModelConfig,
    *,
    module: nn.Module | None = None,
    example: Mapping[str, Tensor] | None = None,
    image_size: int | None = None,
) -> Description:
    """Groups, cost and cut of a timm model (built with random weights), or of a module of one's own.

    Raises:
        UnknownNameError: no such model.
        ModelError: the model has no head, or does not run at this size.
    """
    if module is None:
        config = config.model_copy(update={"weights": "random"})
    width = head_width(module, head_names(module)) if module is not None else _own_width(config)
    loaded = load_model(config, num_outputs=width or 1, module=module, example=example, image_size=image_size)
    return Description(loaded.card, loaded.groups, loaded.chain.kind, loaded.chain.why_not)


def _own_width(config: ModelConfig) -> int:
    return int(getattr(pretrained_cfg(config.name), "num_classes", 0) or 1000)


@lru_cache(maxsize=8)
def build_card(config: ModelConfig, *, image_size: int | None = None) -> ModelCard:
    """The card of a timm model: nothing is downloaded, and of a large model that allows it nothing is computed.

    Mean, deviation and size of the input are those of timm's own weights.

    Raises:
        UnknownNameError: no such model.
        ModelError: the model has no head, or does not run at this size.
    """
    origin = Origin.of_cfg(pretrained_cfg(config.name), "none")
    size = image_size or origin.image_size
    model, traced = _watched(config, image_size, size)
    grouping = find_groups(model, config.groups, traced.order)
    homes = homes_of(model, grouping.groups, traced.order)
    return make_card(config.name, model, grouping, homes, traced.multiply_adds, origin)


def _watched(config: ModelConfig, image_size: int | None, size: int) -> tuple[nn.Module, Trace]:
    model = _structure(config, image_size, "cpu")
    if sum(parameter.numel() for parameter in model.parameters()) > _LARGE:
        with suppress(ModelError, RuntimeError, TypeError):
            bare = _structure(config, image_size, "meta")
            return bare, watch(config.name, bare, model_input(example_images(size, device="meta")))
    return model, watch(config.name, model, model_input(example_images(size)))


def _structure(config: ModelConfig, image_size: int | None, device: str) -> nn.Module:
    with drawn_from(0, "card"), torch.device(device), _Undrawn():
        model = build(config, image_size=image_size)
    rest(model)
    return model


class _Undrawn(TorchFunctionMode):
    """Inside, weights are what memory held: drawing them is most of building, and nobody looks at them."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        tensor = args[0] if args else given.get("tensor")
        draws = func in _DRAWS or getattr(func, "__module__", None) == nn.init.__name__
        return tensor if draws and isinstance(tensor, nn.Parameter) else func(*args, **given)
