"""An interval for one accuracy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.statistics import wilson_interval


@pytest.mark.parametrize(
    ("correct", "items", "low", "high"),
    [
        pytest.param(81, 263, 0.2553, 0.3662, id="Newcombe 1998, table I"),
        pytest.param(15, 148, 0.0624, 0.1605, id="Newcombe 1998, a small share"),
        pytest.param(0, 20, 0.0, 0.1611, id="none"),
        pytest.param(1, 29, 0.0061, 0.1718, id="one"),
    ],
)
def test_is_the_published_one(correct, items, low, high):
    interval = wilson_interval(correct, items)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
    assert interval.value == correct / items


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_lies_within_0_and_1_about_the_value_and_turns_with_it(counts, level):
    correct, items = counts
    interval, other = wilson_interval(correct, items, level=level), wilson_interval(items - correct, items, level=level)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.value in interval
    assert math.isclose(interval.low, 1 - other.high, abs_tol=1e-12)


def test_more_items_and_less_confidence_make_it_narrower():
    widths = [
        high - low for low, high in ((i.low, i.high) for i in (wilson_interval(n // 2, n) for n in (10, 100, 1000)))
    ]
    assert widths == sorted(widths, reverse=True)
    assert wilson_interval(50, 100, level=0.8).low > wilson_interval(50, 100).low


@pytest.mark.parametrize(("items", "accuracy"), [(60, 0.9), (60, 0.98), (400, 0.7), (400, 0.98)])
def test_holds_the_truth_as_often_as_it_says(items, accuracy):
    """Exactly, by the binomial distribution, over accuracies about the given one."""
    covered = [
        sum(
            math.comb(items, k) * p**k * (1 - p) ** (items - k)
            for k in range(items + 1)
            if p in wilson_interval(k, items)
        )
        for p in np.clip(np.linspace(accuracy - 0.015, accuracy + 0.015, 31), 0, 0.995)
    ]
    assert abs(np.mean(covered) - 0.95) < 0.015


@pytest.mark.parametrize(
    ("arguments", "level", "says"),
    [
        pytest.param((1, 0), 0.95, "got 1 of 0", id="no items"),
        pytest.param((5, 4), 0.95, "got 5 of 4", id="more than there are"),
        pytest.param((-1, 4), 0.95, "got -1 of 4", id="less than none"),
        pytest.param((1, 4), 95, "got 95; 0.95 is customary", id="per cent"),
    ],
)
def test_refuses(arguments, level, says):
    with pytest.raises(ValueError, match=says):
        wilson_interval(*arguments, level=level)
