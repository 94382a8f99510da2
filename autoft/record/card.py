"""Cards: what other rooms need to know of a model and of its input, without holding either."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Family: TypeAlias = Literal["cnn", "vit", "convnext", "swin", "other"]


@dataclass(frozen=True, slots=True)
class GroupCard:
    """One layer group."""

    name: str
    num_parameters: int
    num_layers: int
    """Modules that own parameters."""
    cost_share: float
    """Share (0..1) of the model's forward multiply-adds."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is: its family, its layer groups from input to head (head last), its input."""

    name: str
    family: Family
    groups: tuple[GroupCard, ...]
    groups_from: str
    """Where the groups come from: ``timm``, ``patterns``, ``module tree``."""
    image_size: int
    """Side in pixels the weights were trained at."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    supports_drop_path: bool = False

    @property
    def depth(self) -> int:
        """How many groups can be unfrozen: all but the head."""
        return len(self.groups) - 1


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """Shape and type of one input tensor, without the batch dimension."""

    shape: tuple[int, ...]
    dtype: str
    """As numpy names it."""


@dataclass(frozen=True, slots=True)
class InputSpec:
    """What one item looks like to the model."""

    fields: dict[str, FieldSpec]
    """``{"input": ...}`` for a tensor, one entry per key for a dict of tensors."""
    image: bool
    """Whether it is a decoded uint8 image (H, W, 3) that is normalised by ``mean`` and ``std`` on the way in."""
