"""Heads that are one linear layer behind dropout: what the fused trainer can train many of at once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoft.model.freeze import set_eval

if TYPE_CHECKING:
    from autoft.model.load import LoadedModel


@dataclass(frozen=True, slots=True)
class LinearHead:
    """A head that maps features (B, in_features) to outputs (B, out_features), and the names of what it trains."""

    weight: str
    bias: str | None
    in_features: int
    out_features: int
    own_drop_rate: float = 0.0
    """Of dropout that a module of one's own has before the layer, whatever the recipe says."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of its parameters."""
        return (self.weight,) if self.bias is None else (self.weight, self.bias)


def linear_head(loaded: "LoadedModel") -> LinearHead | None:
    """The head of a model whose last segment is a linear layer on features (B, F), dropout apart; else None.

    It is proven on an example: the segment must give what `torch.nn.functional.linear` gives, bit for bit. The model
    is in eval mode afterwards.
    """
    group = loaded.groups[-1]
    owners = {name.rpartition(".")[0] for name in group.parameters}
    if loaded.chain.why_not is not None or group.buffers or len(owners) != 1 or loaded.fixed & set(group.parameters):
        return None
    (owner,) = owners
    layer = loaded.module.get_submodule(owner)
    if not isinstance(layer, nn.Linear) or len(group.parameters) != len(list(layer.parameters())):
        return None
    flat = loaded.chain.head_input == (layer.in_features,)
    if not flat or layer.weight.dtype != torch.float32 or not _acts_alone(loaded, layer):
        return None
    prefix = f"{owner}." if owner else ""
    bias = None if layer.bias is None else f"{prefix}bias"
    own = _own_drop_rate(loaded) if loaded.base.own else 0.0
    return LinearHead(f"{prefix}weight", bias, layer.in_features, layer.out_features, own)


def _own_drop_rate(loaded: "LoadedModel") -> float:
    """Of all dropout modules in the head's group together; timm's follow the recipe's drop rate instead."""
    kept = 1.0
    for name, part in loaded.module.named_modules():
        if isinstance(part, nn.Dropout) and loaded.homes[name] == {len(loaded.groups) - 1}:
            kept *= 1.0 - part.p
    return 1.0 - kept


def _acts_alone(loaded: "LoadedModel", layer: nn.Linear) -> bool:
    """Whether the last segment does nothing but apply the layer, dropout modules apart."""
    set_eval(loaded)
    if not _is_linear(loaded, layer):
        return False
    if not loaded.base.own:
        return True
    for part in loaded.module.modules():
        part.training = part is not layer and not isinstance(part, nn.Dropout)
    alone = _is_linear(loaded, layer)
    set_eval(loaded)
    return alone


def _is_linear(loaded: "LoadedModel", layer: nn.Linear) -> bool:
    features = torch.linspace(-1.0, 1.0, 3 * layer.in_features, device=layer.weight.device).view(3, -1)
    with torch.no_grad():
        try:
            found = loaded.chain.run(features, len(loaded.chain) - 1, len(loaded.chain))
        except (RuntimeError, TypeError, ValueError, IndexError):
            return False
        expected = functional.linear(features, layer.weight, layer.bias)
    return isinstance(found, Tensor) and found.shape == expected.shape and torch.equal(found, expected)
