"""Differences on the same items."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from autoft.statistics import compare, paired_bootstrap, standard_error

BINARY = st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=2, max_size=80)
REAL = st.lists(st.floats(-3, 3), min_size=3, max_size=40)


@settings(max_examples=50)
@given(st.one_of(BINARY, REAL), st.sampled_from(["percentile", "bca"]), st.integers(0, 3))
@example(values=[0.0, 0.0, 3.3e-121], method="bca", seed=0)
def test_the_same_seed_gives_the_same_interval_and_signs_turn_it(values, method, seed):
    arguments = {"method": method, "seed": seed, "draws": 300}
    interval = paired_bootstrap(values, **arguments)
    assert interval == paired_bootstrap(values, **arguments)
    assert interval.low <= interval.high
    assert interval.value == pytest.approx(np.mean(values))


@given(REAL, st.floats(-5, 5), st.floats(0.1, 10))
def test_it_moves_and_stretches_with_the_differences(values, shift, factor):
    values = np.array([*values, 0.123])
    plain, moved = (paired_bootstrap(one, draws=200) for one in (values, factor * values + shift))
    assert moved.low == pytest.approx(factor * plain.low + shift, abs=1e-6)
    assert moved.high == pytest.approx(factor * plain.high + shift, abs=1e-6)


def coverage(draw, truth, *, rounds=400, groups=None, **arguments):
    generator = np.random.default_rng(0)
    return np.mean(
        [truth in paired_bootstrap(draw(generator), groups=groups, draws=500, **arguments) for _ in range(rounds)]
    )


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("items", [8, 60])
def test_holds_the_true_mean_of_normal_differences(items, method):
    assert abs(coverage(lambda g: g.normal(0.3, 1, items), 0.3, method=method) - 0.95) < 0.035


def test_the_correction_helps_where_differences_are_skewed():
    drawn = np.random.default_rng(0).exponential(1, 40)
    plain, corrected = (paired_bootstrap(drawn, method=method) for method in ("percentile", "bca"))
    assert corrected.high > plain.high
    assert corrected.low > plain.low


@pytest.mark.parametrize(("better", "worse"), [(0.02, 0.01), (0.05, 0.0)], ids=["few for and against", "none against"])
def test_holds_the_true_lead_of_one_classifier_among_few_items(better, worse):
    chances = [worse, 1 - better - worse, better]
    held = coverage(lambda g: g.choice([-1.0, 0.0, 1.0], size=60, p=chances), better - worse, rounds=600)
    assert 0.92 < held < 0.995


def test_without_a_single_different_item_a_difference_is_still_possible():
    interval = paired_bootstrap(np.zeros(60))
    assert interval.low < -0.01 < 0.01 < interval.high
    assert interval.high < 0.06


def test_groups_are_drawn_as_a_whole():
    generator = np.random.default_rng(0)
    by_group = generator.normal(0, 1, 20)
    values, names = np.repeat(by_group, 30), np.repeat(np.arange(20), 30)
    grouped, plain = paired_bootstrap(values, groups=names), paired_bootstrap(values)
    assert grouped.high - grouped.low > 4 * (plain.high - plain.low)
    alone = paired_bootstrap(by_group)
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high))


def test_names_of_groups_may_be_anything_and_their_order_does_not_matter():
    values = np.random.default_rng(0).normal(size=12)
    names = [f"patient {n % 4}" for n in range(12)]
    order = np.argsort(names, kind="stable")
    sorted_names = [names[place] for place in order]
    assert standard_error(values, groups=names) == pytest.approx(standard_error(values[order], groups=sorted_names))


def test_the_standard_error_of_single_items_is_the_usual_one():
    values = np.random.default_rng(0).normal(size=25)
    assert standard_error(values) == pytest.approx(values.std(ddof=1) / 5)


class TestCompare:
    def test_the_same_items_tell_more_than_two_means(self):
        hard = np.random.default_rng(0).normal(size=200)
        found = compare(hard + 0.1 + 0.01 * np.sin(np.arange(200)), hard)
        assert found.real
        assert found.difference == pytest.approx(0.1, abs=0.01)
        assert found.standard_error < 0.01 < hard.std() / np.sqrt(200)
        assert (found.items, found.groups) == (200, 200)

    def test_it_turns_with_the_order(self):
        first, second = np.random.default_rng(1).normal(size=(2, 50))
        there, back = compare(first, second), compare(second, first)
        assert there.difference == -back.difference
        assert there.standard_error == pytest.approx(back.standard_error)

    def test_a_lead_by_one_item_is_not_real(self):
        assert not compare([1.0] * 60, [1.0] * 59 + [0.0]).real
        assert compare([1.0] * 60, [1.0] * 40 + [0.0] * 20).real

    def test_groups_are_counted(self):
        assert compare([1, 0, 1, 1], [0, 0, 1, 0], groups=["a", "a", "b", "b"]).groups == 2


@pytest.mark.parametrize(
    ("values", "groups", "says"),
    [
        pytest.param([], None, "n > 0", id="none"),
        pytest.param([0.1, np.nan], None, "finite", id="no number"),
        pytest.param([0.1, 0.2], ["a"], "got 1 for 2 items", id="too few names"),
        pytest.param([0.1, 0.2], ["a", "a"], "at least two", id="one group"),
    ],
)
def test_refuses(values, groups, says):
    with pytest.raises(ValueError, match=says):
        paired_bootstrap(values, groups=groups)


def test_scores_of_different_items_are_refused():
    with pytest.raises(ValueError, match="one score per item"):
        compare([0.1, 0.2], [0.1])
