"""What seeds do to scores."""

import numpy as np
import pytest

from autoft.statistics import compare, seed_error, seed_variance, widened


def runs_of(spread, *, seed, runs=2, recipes=5, items=200, same_items=False):
    """Right or wrong on items of differing hardness; a seed shifts a recipe's accuracy in a run."""
    generator = np.random.default_rng(seed)
    level = generator.uniform(0.7, 0.9, recipes)
    fixed = generator.uniform(size=(recipes, items))
    found = []
    for _ in range(runs):
        drawn = fixed if same_items else generator.uniform(size=(recipes, items))
        shifted = level + spread * generator.standard_normal(recipes)
        found.append((drawn < shifted[:, None]).astype(float))
    return found


@pytest.mark.parametrize("same_items", [False, True])
def test_the_variance_of_seeds_is_found_on_average(same_items):
    found = [
        seed_variance(runs_of(0.03, seed=seed, items=2000, same_items=same_items), same_items=same_items)
        for seed in range(200)
    ]
    assert np.mean(found) == pytest.approx(0.03**2, rel=0.15)


def test_what_items_explain_is_not_taken_for_seeds():
    found = [seed_variance(runs_of(0.0, seed=seed), same_items=False) for seed in range(200)]
    of_an_accuracy = 0.8 * 0.2 / 200
    assert np.mean(found) < 0.5 * of_an_accuracy
    assert np.median(found) < 0.25 * of_an_accuracy


def test_one_run_or_one_recipe_says_nothing():
    assert seed_variance(runs_of(0.03, seed=0, runs=1), same_items=False) == 0.0
    assert seed_variance(runs_of(0.03, seed=0, recipes=1), same_items=False) == 0.0


def test_runs_have_the_same_recipes():
    with pytest.raises(ValueError, match="same recipes"):
        seed_variance([np.ones((2, 3)), np.ones((3, 3))], same_items=False)


def test_a_comparison_is_widened_by_the_error_of_seeds():
    plain = compare([1.0, 1.0, 0.0, 1.0], [0.0, 1.0, 0.0, 1.0])
    wider = widened(plain, seed_error(0.02, 2))
    assert wider.difference == plain.difference
    assert wider.standard_error == pytest.approx(np.hypot(plain.standard_error, np.sqrt(0.02)))
    assert wider.interval.low < plain.interval.low
    assert wider.interval.high > plain.interval.high
    assert widened(plain, 0.0) == plain
