"""Augmentation: whole batches at a time, every draw from the generator that is handed in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from autoft.data.metrics import Array
from autoft.errors import ConfigError

Augmentation: TypeAlias = Literal["none", "flip", "light", "strong"]

_SHIFT = 1 / 8
_ERASE_PROBABILITY = 0.5


@dataclass(frozen=True, slots=True)
class Part:
    """Some items of a batch. Draws are made for the whole batch, so an item has its own whoever else is here."""

    places: Array
    """Of the items in the whole batch, int64 (B,)."""
    whole: int
    """Items of the whole batch."""


def augment(images: Tensor, kind: Augmentation, rng: np.random.Generator, *, part: Part | None = None) -> Tensor:
    """Augment a batch of images, each item on its own.

    ``flip`` mirrors half of the items left to right; ``light`` also shifts by up to an eighth of the side (the
    border is mirrored) and changes brightness and contrast by up to a fifth; ``strong`` flips, rotates by up to 20
    degrees, scales by up to a quarter, shifts, changes brightness, contrast and saturation by up to two fifths
    and blanks a rectangle in half of the items.

    Args:
        images: uint8 (B, H, W, 3); not changed.
        kind: how much.
        rng: the stream of the whole batch; the first draws decide the flips, as `draw_flips` does.
        part: which items of the batch these are; all of them if it is None.
    """
    if kind == "none":
        return images
    draws = _Draws(rng, part or Part(np.arange(len(images)), len(images)))
    flips = draws.flips()
    match kind:
        case "flip":
            return torch.where(_column(flips, images), images.flip(2), images)
        case "light":
            return _recolour(_shift(images, flips, draws), draws, strength=0.2, saturation=False)
        case "strong":
            return _erase(_recolour(_warp(images, flips, draws), draws, strength=0.4, saturation=True), draws)


def draw_flips(count: int, rng: np.random.Generator) -> Array:
    """Which of ``count`` items are mirrored, bool (count,)."""
    return rng.random(count) < 0.5


def normalise(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """(x / 255 - mean) / std, from uint8 (B, H, W, 3) to contiguous float32 (B, 3, H, W)."""
    centre = torch.tensor(mean, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
    spread = torch.tensor(std, dtype=torch.float32, device=images.device).view(1, -1, 1, 1)
    return images.permute(0, 3, 1, 2).contiguous().float().div_(255.0).sub_(centre).div_(spread)


def draw_mixup(alpha: float, count: int, rng: np.random.Generator) -> tuple[float, Array]:
    """A batch's proportion, from Beta(alpha, alpha), and the place of each item's partner, int64 (count,)."""
    return float(rng.beta(alpha, alpha)), rng.permutation(count)


def mixup(
    inputs: Mapping[str, Tensor], targets: Tensor, share: float, partners: Array
) -> tuple[dict[str, Tensor], Tensor]:
    """Mix the first items, as many as there are partners, each with its partner.

    Args:
        inputs: float tensors (B, ...), by field.
        targets: (B, ...), as `Task.distribution` gives them.
        share: of the item itself.
        partners: where the partners are among the B, int64 (at most B,).

    Raises:
        ConfigError: a field is not of floating point (token numbers cannot be mixed).

    Source: Zhang et al., 2018, arXiv 1710.09412.
    """
    if whole := [name for name, field in inputs.items() if not field.is_floating_point()]:
        dtype = inputs[whole[0]].dtype
        raise ConfigError(
            f"optimisation.mixup: can mix inputs of floating point only, got {dtype} in {whole[0]!r}; use mixup: 0"
        )
    places = torch.from_numpy(partners).to(targets.device)

    def mixed(rows: Tensor) -> Tensor:
        return rows[: len(places)] * share + rows[places] * (1.0 - share)

    return {name: mixed(field) for name, field in inputs.items()}, mixed(targets)


class _Draws:
    """Draws of a whole batch, of which those of a part are given."""

    def __init__(self, rng: np.random.Generator, part: Part) -> None:
        self._rng, self._part = rng, part

    def flips(self) -> Array:
        return draw_flips(self._part.whole, self._rng)[self._part.places]

    def uniform(self, low: float, high: float, *shape: int) -> Array:
        return self._rng.uniform(low, high, size=(self._part.whole, *shape))[self._part.places]

    def integers(self, low: int, high: int, *shape: int) -> Array:
        drawn: Array = self._rng.integers(low, high, size=(self._part.whole, *shape))[self._part.places]
        return drawn


def _column(values: Array, images: Tensor) -> Tensor:
    """Per-item values as (B, 1, 1, 1) on the images' device; floats in float32."""
    tensor = torch.from_numpy(values)
    tensor = tensor.float() if tensor.is_floating_point() else tensor
    return tensor.to(images.device).view(-1, 1, 1, 1)


def _shift(images: Tensor, flips: Array, draws: _Draws) -> Tensor:
    """Mirror and shift in one gather."""
    count, height, width, _ = images.shape
    rows = _mirrored(np.arange(height) + _offsets(height, draws), height)
    columns = _mirrored(np.arange(width) + _offsets(width, draws), width)
    columns = np.where(flips[:, None], width - 1 - columns, columns)
    places = torch.from_numpy(rows[:, :, None] * width + columns[:, None, :]).to(images.device)
    flat = images.reshape(count, height * width, -1)
    index = places.view(count, -1, 1).expand(-1, -1, flat.shape[2])
    return flat.gather(1, index).view(images.shape)


def _offsets(side: int, draws: _Draws) -> Array:
    most = int(side * _SHIFT)
    return draws.integers(-most, most + 1, 1)


def _mirrored(places: Array, side: int) -> Array:
    """Positions outside 0..side-1 reflected back in."""
    places = np.abs(places)
    return np.where(places >= side, 2 * (side - 1) - places, places)


def _recolour(images: Tensor, draws: _Draws, *, strength: float, saturation: bool) -> Tensor:
    """Brightness, contrast about the item's mean, and saturation about each pixel's grey."""

    def factor() -> Tensor:
        return _column(draws.uniform(1.0 - strength, 1.0 + strength), images)

    pixels = images.float() * factor()
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = (pixels - mean) * factor() + mean
    if saturation:
        grey = pixels.mean(dim=3, keepdim=True)
        pixels = (pixels - grey) * factor() + grey
    return _to_bytes(pixels)


def _warp(images: Tensor, flips: Array, draws: _Draws) -> Tensor:
    """Mirror, rotate, scale and shift by one bilinear resampling."""
    count = len(images)
    angle = np.deg2rad(draws.uniform(-20.0, 20.0))
    scale = draws.uniform(0.75, 1.25)
    shift = draws.uniform(-2 * _SHIFT, 2 * _SHIFT, 2)
    mirror = np.where(flips, -1.0, 1.0)
    cosine, sine = np.cos(angle) / scale, np.sin(angle) / scale
    rows = [mirror * cosine, -mirror * sine, shift[:, 0], sine, cosine, shift[:, 1]]
    theta = torch.from_numpy(np.stack(rows, axis=1).reshape(count, 2, 3)).float().to(images.device)
    pixels = images.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    warped = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    return _to_bytes(warped.permute(0, 2, 3, 1))


def _erase(images: Tensor, draws: _Draws) -> Tensor:
    """Fill a rectangle, a fifth to two fifths of each side, with the item's mean colour, in half of the items."""
    _, height, width, _ = images.shape
    rows = _spans(height, draws)
    columns = _spans(width, draws)
    chosen = draws.uniform(0.0, 1.0) < _ERASE_PROBABILITY
    hole = torch.from_numpy(chosen[:, None, None] & rows[:, :, None] & columns[:, None, :]).to(images.device)
    colour = _to_bytes(images.float().mean(dim=(1, 2), keepdim=True))
    return torch.where(hole.unsqueeze(3), colour, images)


def _spans(side: int, draws: _Draws) -> Array:
    """A random stretch per item, as a mask (count, side)."""
    length = side * draws.uniform(0.2, 0.4, 1)
    start = draws.uniform(0.0, 1.0, 1) * (side - length)
    places = np.arange(side)[None, :]
    chosen: Array = (places >= np.floor(start)) & (places < np.floor(start) + np.ceil(length))
    return chosen


def _to_bytes(pixels: Tensor) -> Tensor:
    return pixels.round_().clamp_(0.0, 255.0).to(torch.uint8)
