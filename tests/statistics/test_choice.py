"""The simplest within one standard error, and what looking on may bring."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.statistics import Candidate, expected_gain, simplest

RIGHT = np.array([1.0] * 80 + [0.0] * 20)


def worse_by(items, *, of=RIGHT):
    """The same but for so many items that are wrong as well."""
    scores = of.copy()
    scores[:items] = 0.0
    return scores


class TestSimplest:
    def test_takes_the_simplest_within_one_standard_error_of_the_best(self):
        best, near, far = (
            Candidate("full", 9, RIGHT),
            Candidate("half", 5, worse_by(1)),
            Candidate("head", 1, worse_by(12)),
        )
        assert simplest([far, near, best]).name == "half"
        assert simplest([far, near, best], beside=1.0).name == "head"

    def test_the_better_of_equally_simple_ones(self):
        assert simplest([Candidate("a", 1, worse_by(1)), Candidate("b", 1, RIGHT)]).name == "b"

    def test_a_simpler_one_that_is_as_good_wins(self):
        assert simplest([Candidate("dear", 2, RIGHT), Candidate("cheap", 1, RIGHT.copy())]).name == "cheap"

    def test_groups_make_the_error_larger(self):
        one, two = Candidate("dear", 2, RIGHT), Candidate("cheap", 1, worse_by(10))
        assert simplest([one, two]).name == "dear"
        assert simplest([one, two], groups=[n // 10 for n in range(100)]).name == "cheap"

    def test_needs_candidates(self):
        with pytest.raises(ValueError, match="at least one"):
            simplest([])


class TestExpectedGain:
    @given(st.lists(st.floats(0, 1), min_size=2, max_size=7), st.integers(1, 6))
    def test_is_the_mean_over_all_orders(self, scores, more):
        more = min(more, len(scores) - 1)
        subsets = list(itertools.combinations(scores, len(scores) - more))
        expected = max(scores) - np.mean([max(subset) for subset in subsets])
        assert expected_gain(scores, more) == pytest.approx(expected, abs=1e-12)

    def test_the_next_ones_bring_no_more_on_average(self):
        generator = np.random.default_rng(0)
        draws = generator.normal(size=(4000, 40))
        promised = np.mean([expected_gain(row[:30], 10) for row in draws])
        brought = np.mean(draws.max(axis=1) - draws[:, :30].max(axis=1))
        assert brought < promised < 3 * brought

    @pytest.mark.parametrize("more", [0, 3, 9])
    def test_cannot_judge_more_than_were_tried(self, more):
        with pytest.raises(ValueError, match=r"within 1\.\.2"):
            expected_gain([0.1, 0.2, 0.3], more)

    def test_refuses_what_is_no_number(self):
        with pytest.raises(ValueError, match="leave out recipes that diverged"):
            expected_gain([0.1, float("nan")], 1)
