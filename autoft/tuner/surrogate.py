"""A Gaussian process over recipes: what is worth trying next, given what was reached by others. Pure numpy."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]

SCALES = (0.2, 0.5, 1.2, 4.0)
"""Length scales that a dimension may have, in units of its range: from rugged to without effect."""
_PRIOR = 0.15
"""Weight of the squared log of a scale over the middle one: few values say little of many dimensions."""


@dataclass(frozen=True, slots=True, eq=False)
class Surrogate:
    """A Gaussian process with a Matérn-5/2 kernel and one length scale per dimension (Rasmussen and Williams 2006).

    Values are standardised, the noise is in their unit.
    """

    points: Array
    """(n, d), each coordinate within 0..1."""
    values: Array
    """(n,), higher is better."""
    scales: Array
    """(d,)."""
    noise: float = 0.1

    def predict(self, candidates: Array) -> tuple[Array, Array]:
        """Mean and standard deviation (m,) at candidates (m, d), in the values' own unit."""
        mean, spread = float(self.values.mean()), float(self.values.std()) or 1.0
        lower = np.linalg.cholesky(
            _kernel(self.points, self.points, self.scales) + self.noise * np.eye(len(self.points))
        )
        weights = np.linalg.solve(lower.T, np.linalg.solve(lower, (self.values - mean) / spread))
        cross = _kernel(candidates, self.points, self.scales)
        explained = np.square(np.linalg.solve(lower, cross.T)).sum(axis=0)
        return mean + spread * (cross @ weights), spread * np.sqrt(np.maximum(1 - explained, 1e-9))

    def expected_improvement(self, candidates: Array) -> Array:
        """By how much each candidate (m, d) is expected to exceed the best value (Jones et al. 1998), (m,)."""
        mean, deviation = self.predict(candidates)
        gain = mean - self.values.max()
        z = gain / deviation
        expected: Array = gain * _normal_cdf(z) + deviation * np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
        return expected


def fit(points: Array, values: Array, *, noise: float = 0.1, sweeps: int = 2) -> Array:
    """The length scale of each dimension, (d,), by coordinate ascent on the marginal likelihood over `SCALES`.

    Args:
        points: (n, d), each coordinate within 0..1.
        values: (n,).
        noise: variance of a standardised value about the function.
        sweeps: how often each dimension is tried.

    Raises:
        ValueError: no points, or as many values as there are not points.
    """
    if not len(points) or len(points) != len(values):
        raise ValueError(f"values: must be one per point and at least one, got {len(values)} for {len(points)} points")
    scaled = (values - values.mean()) / (float(values.std()) or 1.0)
    scales = np.full(points.shape[1], SCALES[1])
    likelihood = _likelihood(points, scaled, noise)
    best = likelihood(scales)
    for _ in range(sweeps):
        for dimension in range(len(scales)):
            for scale in SCALES:
                tried = scales.copy()
                tried[dimension] = scale
                found = likelihood(tried)
                if found > best:
                    best, scales = found, tried
    return scales


def _likelihood(points: Array, values: Array, noise: float) -> Callable[[Array], float]:
    squares = np.square(points.T[:, :, None] - points.T[:, None, :])

    def of(scales: Array) -> float:
        covariance = _matern(np.tensordot(scales**-2.0, squares, 1)) + noise * np.eye(len(values))
        lower = np.linalg.cholesky(covariance)
        z = np.linalg.solve(lower, values)
        prior = _PRIOR * float(np.square(np.log(scales / SCALES[1])).sum())
        return float(-0.5 * z @ z - np.log(np.diag(lower)).sum()) - prior

    return of


def _kernel(left: Array, right: Array, scales: Array) -> Array:
    left, right = left / scales, right / scales
    squares = np.square(left).sum(1)[:, None] + np.square(right).sum(1)[None, :] - 2 * left @ right.T
    return _matern(np.maximum(squares, 0.0))


def _matern(squares: Array) -> Array:
    """Matérn-5/2 of squared distances."""
    root = np.sqrt(5 * squares)
    values: Array = (1 + root + 5 / 3 * squares) * np.exp(-root)
    return values


def _normal_cdf(z: Array) -> Array:
    """Abramowitz and Stegun 26.2.17: absolute error below 1e-7."""
    t = 1 / (1 + 0.2316419 * np.abs(z))
    tail = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    poly = t * (0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
    upper: Array = tail * poly
    return np.where(z > 0, 1 - upper, upper)
