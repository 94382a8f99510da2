import math

import pytest
import torch

from autoft.training.similarity import drift, linear_cka, shared_neighbours


def features(count, width, *, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("width", [3, 200])
def test_features_are_exactly_like_themselves(width):
    rows = features(20, width)
    assert linear_cka(rows, rows.clone()) == 1.0
    assert drift(rows, rows.clone()) == 0.0
    assert shared_neighbours(rows, rows.clone()) == 1.0


def test_alignment_does_not_change_with_rotation_scale_and_shift():
    rows = features(30, 6)
    turn, _ = torch.linalg.qr(features(6, 6, seed=1))
    assert linear_cka(rows, 3.0 * rows @ turn + 5.0) == pytest.approx(1.0)


def test_unrelated_features_are_not_alike_even_where_they_are_wider_than_there_are_items():
    assert linear_cka(features(40, 1000), features(40, 1000, seed=1)) < 0.1


def test_more_noise_leaves_less():
    rows, noise = features(50, 20), features(50, 20, seed=1)
    moved = [rows + scale * noise for scale in (0.0, 0.1, 0.5, 2.0)]
    for measure, falls in ((linear_cka, True), (shared_neighbours, True), (drift, False)):
        found = [measure(rows, each) for each in moved]
        assert found == sorted(found, reverse=falls)
        assert len(set(found)) == 4


def test_features_that_do_not_differ_between_items_are_alike_only_if_they_are_equal():
    same = torch.ones(8, 3).double()
    assert linear_cka(same, same.clone()) == 1.0
    assert linear_cka(same, features(8, 3)) == 0.0


def test_drift_from_nothing_is_infinite():
    assert drift(torch.zeros(3), torch.ones(3)) == math.inf
    assert drift(torch.zeros(3), torch.zeros(3)) == 0.0
