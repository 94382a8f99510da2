import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from autoft.space.trial import OutsideError, RandomTrial, RepeatedTrial, contains

DISTRIBUTIONS = [
    IntDistribution(0, 5),
    IntDistribution(1, 9, step=4),
    IntDistribution(1, 1000, log=True),
    FloatDistribution(-1, 1),
    FloatDistribution(1e-5, 1e-2, log=True),
    FloatDistribution(0, 0.3, step=0.01),
    CategoricalDistribution(("a", None, True, 2)),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_what_is_drawn_lies_in_the_distribution_and_reaches_its_ends(distribution):
    drawn = [RandomTrial(np.random.default_rng(seed))._suggest("a", distribution) for seed in range(200)]
    assert all(contains(distribution, value) for value in drawn)
    if isinstance(distribution, CategoricalDistribution):
        assert set(drawn) == set(distribution.choices)
    elif isinstance(distribution, IntDistribution) and not distribution.log:
        assert {min(drawn), max(drawn)} == {distribution.low, distribution.high}
    else:
        quarter = np.quantile([_position(value, distribution) for value in drawn], [0.25, 0.5, 0.75])
        np.testing.assert_allclose(quarter, [0.25, 0.5, 0.75], atol=0.12)


def _position(value, distribution):
    """Where in its range a value lies, 0 to 1, on a log scale where there is one."""
    scale = np.log if distribution.log else float
    low, high = scale(distribution.low), scale(distribution.high)
    return (scale(value) - low) / (high - low)


def test_a_range_of_one_value_gives_it():
    assert RandomTrial(np.random.default_rng(0)).suggest_float("a", 2, 2) == 2.0
    assert RandomTrial(np.random.default_rng(0)).suggest_int("b", 3, 3) == 3


def test_a_name_asked_for_twice_gives_the_same_value():
    trial = RandomTrial(np.random.default_rng(0))
    assert trial.suggest_float("a", 0, 1) == trial.suggest_float("a", 0, 1)


@pytest.mark.parametrize(
    ("distribution", "value"),
    [
        (IntDistribution(0, 5), 6),
        (IntDistribution(0, 5), 2.5),
        (IntDistribution(1, 9, step=4), 3),
        (IntDistribution(0, 1), True),
        (FloatDistribution(0, 0.3, step=0.1), 0.15),
        (FloatDistribution(0, 1), "0.5"),
        (FloatDistribution(0, 1), float("nan")),
        (CategoricalDistribution((1, 2)), True),
        (CategoricalDistribution(("a",)), "b"),
    ],
    ids=str,
)
def test_a_value_that_could_not_be_drawn_is_not_repeated(distribution, value):
    assert not contains(distribution, value)
    with pytest.raises(OutsideError):
        RepeatedTrial({"a": value})._suggest("a", distribution)
    with pytest.raises(OutsideError):
        RepeatedTrial({})._suggest("a", distribution)
