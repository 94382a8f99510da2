"""Costs in epochs of a full fine-tune, counted from multiply-adds."""

from math import fsum

import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.model import complete
from autoft.recipe import Recipe
from autoft.tuner.prepare import lay_ground
from autoft.tuner.units import UnitCounter

FULL = {"name": "tune", "epochs": 3, "unfreeze": "all", "lr": 1e-3}
HEAD = {"name": "head", "epochs": 2}


def counted(*stages):
    torch.manual_seed(0)
    plain = {"model": {"name": "own"}, "data": {"test_fraction": 0.0}, "stages": list(stages)}
    base = Recipe.parse(plain, where="test")
    ground = lay_ground(base, tiny_data(), module=TinyNet(), notify=lambda _text: None)
    recipe = complete(ground.recipe, ground.loaded.card)
    return UnitCounter(ground.loaded, ground.data)(recipe.full()), ground.loaded.card


def test_an_epoch_of_everything_is_one_unit():
    units, _ = counted(FULL)
    assert units == {"tune": pytest.approx(1.0)}


def test_the_head_alone_costs_its_own_share_and_the_prefix_nothing():
    units, card = counted(HEAD, FULL)
    assert units["head"] == pytest.approx(card.groups[-1].cost_share)
    assert units["tune"] == pytest.approx(1.0)


def test_what_was_trained_before_is_computed_again_and_not_updated():
    units, card = counted({**FULL, "name": "all"}, HEAD)
    head = card.groups[-1].cost_share
    assert units["head"] == pytest.approx((1 + 24 / 48 + 2 * head) / (3 + 24 / 48))


def test_shares_of_all_groups_make_the_whole():
    _, card = counted(HEAD)
    assert fsum(group.cost_share for group in card.groups) == pytest.approx(1.0)
