"""Grids: levels with both ends, and every combination once, spread from the first on."""

import itertools

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autoft.space import grid_points, middle
from autoft.space.grid import levels
from autoft.space.trial import contains

RANGES = {
    "depth": IntDistribution(0, 6),
    "lr": FloatDistribution(1e-5, 1e-1, log=True),
    "norm": CategoricalDistribution(("train", "eval")),
}


@pytest.mark.parametrize(
    ("distribution", "expected", "half"),
    [
        pytest.param(IntDistribution(0, 3), [0, 1, 2, 3], 2, id="int"),
        pytest.param(IntDistribution(2, 8, step=3), [2, 5, 8], 5, id="int with a step"),
        pytest.param(IntDistribution(1, 16, log=True), [1, 2, 4, 8, 16], 4, id="int on a log scale"),
        pytest.param(IntDistribution(1, 2, log=True), [1, 2], 2, id="few ints on a log scale"),
        pytest.param(FloatDistribution(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0], 0.5, id="float"),
        pytest.param(FloatDistribution(0.0, 0.5, step=0.25), [0.0, 0.25, 0.5], 0.25, id="float with a step"),
        pytest.param(FloatDistribution(1e-4, 1.0, log=True), [1e-4, 1e-3, 1e-2, 1e-1, 1.0], 1e-2, id="log"),
        pytest.param(FloatDistribution(0.1, 0.1), [0.1], 0.1, id="one value"),
        pytest.param(CategoricalDistribution(("a", "b")), ["a", "b"], "a", id="choice"),
    ],
)
def test_the_levels_of_a_range_and_its_middle(distribution, expected, half):
    found = levels(distribution)
    assert found == (pytest.approx(expected) if isinstance(half, float) else expected)
    assert middle(distribution) == (pytest.approx(half) if isinstance(half, float) else half)
    assert all(contains(distribution, value) for value in found)


@pytest.mark.parametrize("seed", range(4))
def test_every_combination_comes_once(seed):
    found = [tuple(point.values()) for point in grid_points(RANGES, seed)]
    assert sorted(found, key=str) == sorted(itertools.product(*map(levels, RANGES.values())), key=str)
    assert found == [tuple(point.values()) for point in grid_points(RANGES, seed)]


def test_the_first_few_lie_apart():
    first = list(itertools.islice(grid_points(RANGES, 0), 14))
    for name, least in (("depth", 6), ("lr", 4), ("norm", 2)):
        assert len({point[name] for point in first}) >= least


def test_a_space_of_nothing_has_one_point():
    assert list(grid_points({}, 0)) == [{}]
