"""The card of a model: what other rooms know of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from autoft.model.build import supports_drop_path
from autoft.model.family import family_of
from autoft.model.groups import Grouping, LayerGroup
from autoft.record import GroupCard, ModelCard

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where weights come from, and what input they were trained on."""

    weights: str
    image_size: int
    """Side in pixels; 0 for what is no image."""
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    notes: tuple[str, ...] = ()
    head_loaded: bool = False

    @classmethod
    def of_cfg(cls, cfg: Any, weights: str) -> "Origin":
        """As timm's configuration tells."""
        if cfg is None:
            return cls(weights, 224)
        return cls(weights, int(cfg.input_size[-1]), tuple(cfg.mean), tuple(cfg.std))


def make_card(
    name: str,
    model: nn.Module,
    grouping: Grouping,
    homes: Mapping[str, frozenset[int]],
    multiply_adds: Mapping[str, int],
    origin: Origin,
) -> ModelCard:
    """Write the card; without any multiply-adds the number of parameters stands for the cost."""
    groups = grouping.groups
    costs = [0.0] * len(groups)
    for part, products in multiply_adds.items():
        costs[max(homes[part])] += products
    sizes = [sum(model.get_parameter(p).numel() for p in group.parameters) for group in groups]
    shares = _shares(costs) or _shares(sizes) or [1 / len(groups)] * len(groups)
    return ModelCard(
        name=name,
        family=family_of(model),
        groups=tuple(_group_card(*row) for row in zip(groups, sizes, shares, strict=True)),
        groups_from=grouping.source,
        image_size=origin.image_size,
        mean=origin.mean,
        std=origin.std,
        supports_drop_path=supports_drop_path(model),
    )


def _group_card(group: LayerGroup, size: int, share: float) -> GroupCard:
    return GroupCard(group.name, size, group.num_layers, share)


def _shares(amounts: Sequence[float]) -> list[float]:
    total = sum(amounts)
    return [amount / total for amount in amounts] if total else []
