"""A Gaussian process over recipes."""

import numpy as np
import pytest

from autoft.tuner.surrogate import SCALES, Surrogate, fit


def grid(count, dimensions=3, seed=0):
    return np.random.default_rng(seed).random((count, dimensions))


def test_it_goes_through_what_is_known_and_is_unsure_far_from_it():
    points = grid(12)
    values = np.sin(5 * points[:, 0])
    known = Surrogate(points, values, np.full(3, 0.5), noise=1e-6)
    mean, deviation = known.predict(points)
    np.testing.assert_allclose(mean, values, atol=1e-3)
    assert deviation.max() < 0.01
    far, unsure = known.predict(np.full((1, 3), 9.0))
    assert far[0] == pytest.approx(values.mean(), abs=1e-3)
    assert unsure[0] == pytest.approx(values.std(), rel=1e-3)


def test_its_values_have_their_own_unit():
    points, values = grid(10), grid(10)[:, 0]
    plain, scaled = (Surrogate(points, v, np.full(3, 0.5)).predict(grid(5, seed=1)) for v in (values, 7 * values - 100))
    np.testing.assert_allclose(scaled[0], 7 * plain[0] - 100)
    np.testing.assert_allclose(scaled[1], 7 * plain[1])


def test_the_scales_tell_what_matters():
    points = grid(60)
    scales = fit(points, np.sin(8 * points[:, 1]))
    assert scales[1] < min(scales[0], scales[2])
    assert set(scales) <= set(SCALES)


def test_the_expected_improvement_is_what_it_says():
    points = grid(15)
    known = Surrogate(points, points[:, 0] - points[:, 2], np.full(3, 1.2), noise=0.01)
    candidates = grid(6, seed=2)
    mean, deviation = known.predict(candidates)
    drawn = mean + deviation * np.random.default_rng(0).standard_normal((200_000, 6))
    sampled = np.maximum(drawn - known.values.max(), 0).mean(axis=0)
    np.testing.assert_allclose(known.expected_improvement(candidates), sampled, atol=2e-3)


def test_equal_values_are_no_trouble():
    points = grid(9)
    known = Surrogate(points, np.ones(9), fit(points, np.ones(9)))
    assert np.isfinite(known.expected_improvement(points)).all()


@pytest.mark.parametrize(("points", "values"), [(0, 0), (3, 2)], ids=["none", "too few"])
def test_refuses_values_without_points(points, values):
    with pytest.raises(ValueError, match="one per point"):
        fit(np.ones((points, 2)), np.ones(values))
