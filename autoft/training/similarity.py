"""How alike two sets of features of the same items are."""

import math

import torch
from torch import Tensor

LEAST_ITEMS = 4
"""The unbiased estimate behind `linear_cka` is not defined for fewer."""


def linear_cka(first: Tensor, second: Tensor) -> float:
    """Linear centred kernel alignment of features (n, p) and (n, q), 0 to 1; 1 for equal features.

    Kornblith et al. (2019, arXiv 1905.00414), with the unbiased estimate of HSIC (Song et al. 2012): the plain one
    finds any two sets of features alike where they have more dimensions than there are items. Below 0 it counts as 0.

    Args:
        first: float64, n at least `LEAST_ITEMS`.
        second: likewise, of the same items.
    """
    left, right = _centred_kernel(first), _centred_kernel(second)
    scale = _hsic(left, left) * _hsic(right, right)
    if scale <= 0.0:  # features that do not differ between items
        return float(torch.equal(first, second))
    return min(1.0, max(0.0, _hsic(left, right) / math.sqrt(scale)))


def drift(start: Tensor, now: Tensor) -> float:
    """Length of the change of a tensor, relative to its length at the start: 0 where nothing changed."""
    moved, whole = float((now - start).norm()), float(start.norm())
    return moved / whole if whole else math.inf if moved else 0.0


def shared_neighbours(first: Tensor, second: Tensor, *, count: int = 10) -> float:
    """Share of the ``count`` nearest neighbours of an item by cosine, (n, p), that are the same in both, 0 to 1."""
    count = min(count, len(first) - 1)
    both = _is_neighbour(first, count) & _is_neighbour(second, count)
    return float(both.sum()) / (count * len(first))


def _centred_kernel(features: Tensor) -> Tensor:
    """The linear kernel (n, n) without its diagonal; centring changes no estimate but saves digits."""
    centred = features - features.mean(dim=0)
    return (centred @ centred.T).fill_diagonal_(0.0)


def _hsic(left: Tensor, right: Tensor) -> float:
    """The unbiased estimate from two kernels without diagonals, times n (n - 3)."""
    count = len(left)
    rows, columns = left.sum(dim=1), right.sum(dim=1)
    whole = float(rows.sum() * columns.sum()) / ((count - 1) * (count - 2))
    return float((left * right).sum()) + whole - 2.0 / (count - 2) * float(rows @ columns)


def _is_neighbour(features: Tensor, count: int) -> Tensor:
    unit = features / features.norm(dim=1, keepdim=True).clamp_min(torch.finfo(features.dtype).tiny)
    alike = (unit @ unit.T).fill_diagonal_(-torch.inf)
    nearest = alike.topk(count, dim=1).indices
    return torch.zeros_like(alike, dtype=torch.bool).scatter_(1, nearest, value=True)
