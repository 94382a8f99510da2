"""Variants: the few images that an item may enter the prefix as, so that each can be computed once and kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autoft.data.augment import Augmentation, augment, draw_flips
from autoft.data.metrics import Array
from autoft.recipe import DataConfig
from autoft.streams import stream


@dataclass(frozen=True, slots=True)
class Variant:
    """One image per item: as it is, mirrored left to right, or one of its augmented views."""

    kind: Augmentation = "none"
    view: int = 0
    """Which one, of ``light`` and ``strong``."""
    seed: int = 0
    """That views are drawn from."""

    def of(self, fields: Mapping[str, Tensor], items: Array) -> dict[str, Tensor]:
        """The images of some items, each a function of variant and item alone.

        Args:
            fields: decoded, uint8 (B, H, W, 3); on the CPU, where views have the same bits everywhere.
            items: their numbers (B,).
        """
        match self.kind:
            case "none":
                return dict(fields)
            case "flip":
                return {name: images.flip(2) for name, images in fields.items()}
            case _:
                return {name: self._views(images, items) for name, images in fields.items()}

    def _views(self, images: Tensor, items: Array) -> Tensor:
        """One item at a time, so that companions count for nothing."""
        rows = [
            augment(images[place : place + 1], self.kind, stream(self.seed, "view", int(item), self.view))
            for place, item in enumerate(items)
        ]
        return torch.cat(rows) if rows else images


PLAIN, MIRRORED = Variant(), Variant("flip")


def variants_of(config: DataConfig, seed: int) -> tuple[Variant, ...] | None:
    """The variants that training draws from; None where each epoch augments anew."""
    match config.augment:
        case "none":
            return (PLAIN,)
        case "flip":
            return (PLAIN, MIRRORED)
        case kind:
            views = config.views
            return None if views == "fresh" else tuple(Variant(kind, view, seed) for view in range(views))


def draw_variants(variants: Sequence[Variant], count: int, rng: np.random.Generator) -> Array:
    """Which of the variants each item of a batch enters as, int64 (count,); of two as `augment` draws flips."""
    if len(variants) == 1:
        return np.zeros(count, np.int64)
    if MIRRORED in variants:
        return draw_flips(count, rng).astype(np.int64)
    return rng.integers(len(variants), size=count)


def drawn(fields: Mapping[str, Tensor], items: Array, variants: Sequence[Variant], choice: Array) -> dict[str, Tensor]:
    """The images of a batch, of the variant that ``choice`` (B,) names for each item."""
    found = {name: field.clone() for name, field in fields.items()}
    for number in np.unique(choice):
        places = torch.from_numpy(np.flatnonzero(choice == number))
        own = variants[number].of({name: field[places] for name, field in fields.items()}, items[places.numpy()])
        for name, images in own.items():
            found[name][places] = images
    return found
