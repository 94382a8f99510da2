"""How trials stand among each other: the table says what the curves say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from autoft.pruning import CurveTable, Dominated, Peers, best_score, peer_scores, rank, with_consent
from autoft.record import Evaluation, Objective, pause

SCORE, LOSS = Objective("accuracy", "max"), Objective("mae", "min")
VALUES = st.lists(st.one_of(st.floats(-2, 2), st.just(math.nan), st.just(math.inf)), max_size=12)


def made(values):
    return tuple(Evaluation(i, "tune", i, i, value, 0.5, 0.5) for i, value in enumerate(values, start=1))


@given(st.lists(VALUES, max_size=8), st.integers(1, 14), st.integers(0, 14), st.sampled_from([SCORE, LOSS]))
def test_the_table_gives_what_the_curves_give(rows, index, came, objective):
    curves = [made(row) for row in rows]
    peers = CurveTable(objective).peers(enumerate(curves), without=-1)
    plain = [curve for curve in curves if curve]
    assert list(peers) == plain
    np.testing.assert_array_equal(
        peer_scores(peers, index, objective, came=came), peer_scores(plain, index, objective, came=came)
    )


@given(st.lists(st.tuples(st.integers(0, 3), VALUES), max_size=20))
def test_the_table_follows_curves_that_change(changes):
    table, curves = CurveTable(SCORE), {}
    for number, values in changes:
        curves[number] = made(values)
        peers = table.peers(curves.items(), without=number)
        others = [curve for other, curve in curves.items() if other != number and curve]
        np.testing.assert_array_equal(peer_scores(peers, 3, SCORE, came=1), peer_scores(others, 3, SCORE, came=1))


def test_the_table_of_another_objective_is_read_as_curves():
    peers = CurveTable(SCORE).peers(enumerate([made([0.1, 0.9])]), without=-1)
    assert list(peer_scores(peers, 2, LOSS)) == [-0.1]


def test_a_trial_is_not_its_own_peer_and_what_has_no_evaluation_is_none():
    peers = CurveTable(SCORE).peers([(0, made([0.1])), (1, ()), (2, made([0.2]))], without=0)
    assert [curve[0].value for curve in peers] == [0.2]
    assert isinstance(peers[:1], Peers)


@pytest.mark.parametrize("rule", [Dominated(3), with_consent(lambda *_: pause("a", "b"))], ids=["dominated", "consent"])
def test_a_rule_says_the_same_of_a_table_and_of_curves(rule):
    curves = [made(np.linspace(0, value, 5)) for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    peers = CurveTable(SCORE).peers(enumerate(curves), without=-1)
    for value in (0.05, 0.35, 0.7):
        own = made(np.linspace(0, value, 5))
        assert rule(own, peers, SCORE) == rule(own, curves, SCORE)


def test_the_best_so_far_looks_at_finite_values_within_the_index():
    curve = made([0.3, math.nan, 0.5, 0.9])
    assert [best_score(curve, index, SCORE) for index in range(6)] == [-math.inf, 0.3, 0.3, 0.5, 0.9, 0.9]


def test_equals_share_the_better_place():
    assert rank(0.5, np.array([0.9, 0.5, 0.1])) == 2
