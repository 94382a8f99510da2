"""The classifier that a model was pretrained with, which loading it for another task leaves out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from autoft.model.head import head_names
from autoft.model.source import timm_state
from autoft.model.weights import adapted

if TYPE_CHECKING:
    from autoft.model.load import LoadedModel


@dataclass(frozen=True, slots=True)
class OriginalHead:
    """A linear classifier of the pretraining classes."""

    weight: Tensor
    """(classes, features)."""
    bias: Tensor | None

    def logits(self, features: Tensor) -> Tensor:
        """Raw outputs (B, classes) from features (B, F), float64."""
        bias = None if self.bias is None else self.bias.double()
        return functional.linear(features.double(), self.weight.double(), bias)


def original_head(loaded: "LoadedModel") -> OriginalHead | None:
    """The classifier in the weights of a timm model, read again from where they came from.

    None for a module of one's own, for random weights, and where it is not one linear layer on the head's input.

    Raises:
        WeightsError: the weights cannot be had any more.
    """
    names = head_names(loaded.module)
    layer = loaded.module.get_submodule(names[0]) if len(names) == 1 else None
    if loaded.base.own or not isinstance(layer, nn.Linear):
        return None
    state = timm_state(loaded.config, loaded.module, image_size=loaded.base.image_size)
    if state is None:
        return None
    found = adapted(loaded.module, dict(state))
    weight, bias = found.get(f"{names[0]}.weight"), found.get(f"{names[0]}.bias")
    if weight is None or weight.dim() != 2 or weight.shape[1] != layer.in_features:
        return None
    return OriginalHead(weight, bias)
