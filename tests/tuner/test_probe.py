"""The probe: a look at the frozen features before the first trial."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.data import Task
from autoft.record import Objective
from autoft.space.portfolio import head_options
from autoft.study import MemoryLedger
from autoft.training import StageKeys, StageTree, thread_count
from autoft.tuner.config import resolve_config
from autoft.tuner.first import first_in_line, limited, probed
from autoft.tuner.pooled import linear_scores
from autoft.tuner.prepare import baselines_of, lay_ground, search_space
from autoft.tuner.probe import PROBE, Probed, _Probe, least_promising, spread

SCORE = Objective("accuracy", "max")
RATES = {"path": "stages.tune.lr", "type": "float", "log": True}


def find(world, context, ledger, told=None, **more):
    config, ground, space = world
    notify = (told if told is not None else []).append
    return probed(config, space, ledger, context, ground, notify=notify, **more)


def test_it_tells_how_far_frozen_features_go_at_several_depths(world, context):
    told = []
    found = find(world, context, MemoryLedger(SCORE), told)
    assert sorted(found.depths) == [0, 1]
    assert all(value > 0.5 for value in found.depths.values())
    assert told == [f"probe: {found.text}"]
    assert f"accuracy {found.depths[0]:.3f} on 24 validation items" in found.text


def test_it_tries_each_head_that_the_space_offers_and_leaves_them_for_the_trials(world, context):
    _, ground, space = world
    found = find(world, context, MemoryLedger(SCORE))
    assert set(found.heads) == {"gentle", "steady", "quick", "damped", "solved"}
    options = head_options(space, ground.recipe)
    assert options.keys() == found.heads.keys()
    with thread_count(context.threads):
        keys, tree = StageKeys(ground.loaded, ground.data, SCORE), StageTree(context.stages)
    assert all(tree.find(keys.key(ground.recipe.override(option), 0)) for option in options.values())


def test_the_same_seed_finds_the_same_and_a_resumed_study_does_not_look_again(world, context):
    ledger = MemoryLedger(SCORE)
    found = find(world, context, ledger)
    again = find(world, context, MemoryLedger(SCORE))
    assert {**again.plain(), "seconds": 0} == {**found.plain(), "seconds": 0}
    ledger.set_meta(PROBE, {**found.plain(), "head": "damped"})
    assert find(world, context, ledger).head == "damped"


def test_without_reuse_the_features_are_computed_and_no_head_is_trained(world, context):
    kept = find(world, context, MemoryLedger(SCORE))
    found = find(world, replace(context, reuse=None), MemoryLedger(SCORE))
    assert found.depths == kept.depths
    assert found.heads == {}
    assert found.head == kept.head == "solved", "what to start from does not depend on reuse"


def test_a_budget_that_is_too_short_leaves_it_out_and_says_so(world, context):
    told, ledger = [], MemoryLedger(SCORE)
    assert find(world, context, ledger, told, deadline=0.0) is None
    assert told == ["probe: left out, the time budget is too short for it"]
    assert PROBE not in ledger.meta()


def test_a_base_recipe_that_solves_for_its_head_is_probed_all_the_same(context, tmp_path):
    solving = [{"name": "head", "fit": "solve", "epochs": 1}, {"name": "tune", "unfreeze": 1, "epochs": 2, "lr": 0.1}]
    given = {
        "model.name": "own",
        "data.test_fraction": 0.0,
        "stages": solving,
        "space": {"lr": {**RATES, "low": 0.01, "high": 1.0}},
    }
    config = resolve_config(None, [], given)
    ground = lay_ground(config.base_recipe(), tiny_data(), module=TinyNet(), notify=lambda _text: None)
    context = replace(context, data=ground.data, seed=ground.recipe.seed)
    space = search_space(config, ground, None)
    found = probed(config, space, MemoryLedger(SCORE), context, ground, notify=lambda _text: None)
    assert set(found.heads) == {"base"}
    assert found.head == "base"


def test_it_can_be_switched_off(world, context):
    config, ground, space = world
    off = config.override({"search.probe": "off"})
    assert probed(off, space, MemoryLedger(SCORE), context, ground, notify=print) is None


class TestPortfolio:
    def made(self, world, found):
        config, ground, space = world
        return dict(first_in_line(config, ground, space, MemoryLedger(SCORE), found=found, notify=print))

    def test_its_recipes_start_from_the_best_head(self, world):
        made = self.made(world, Probed("accuracy", heads={"quick": 0.9, "steady": 0.8}, head="quick"))
        assert {recipe.stages[0].head_lr for recipe in made.values()} == {1e-2}

    def test_depths_that_promise_less_come_later_and_none_is_left_out(self, world):
        deep = self.made(world, Probed("accuracy", depths={0: 0.5, 1: 0.5, 2: 0.99}))
        plain = self.made(world, None)
        assert set(deep) == set(plain)
        assert next(recipe.stages[-1].unfreeze for recipe in plain.values()) == 1
        assert least_promising(Probed("accuracy", depths={0: 0.5, 2: 0.99}), SCORE, items=24) == 2


@pytest.mark.parametrize(
    ("depths", "mode", "needed"),
    [
        ({}, "max", 0),
        ({0: 0.90, 2: 0.91, 4: 0.5}, "max", 0),
        ({0: 0.60, 2: 0.91, 4: 0.92}, "max", 2),
        ({0: 3.0, 2: 2.0}, "min", 2),
        ({0: 2.0, 2: 3.0}, "min", 0),
    ],
)
def test_a_difference_within_the_standard_error_is_none(depths, mode, needed):
    assert least_promising(Probed("m", depths), Objective("m", mode), items=100) == needed


@pytest.mark.parametrize(("count", "expected"), [(1, [9]), (2, [1, 9]), (4, [1, 4, 6, 9]), (20, list(range(1, 10)))])
def test_depths_are_spread_evenly_with_the_last_among_them(count, expected):
    assert spread(set(range(1, 10)), count) == expected


def test_a_linear_model_fits_every_kind_of_task():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(90, 5))
    parts = slice(0, 60), slice(60, 90)
    targets = {
        "single_label": (x[:, 0] > 0).astype(np.int64) * 2,
        "multi_label": np.stack([x[:, 0] > 0, x[:, 1] > 0, x[:, 0] > 99], axis=1).astype(np.float32),
        "regression": (3 + 2 * x[:, 0]).astype(np.float32),
    }
    for kind, best in (("single_label", "accuracy"), ("multi_label", "average_precision"), ("regression", "r2")):
        task = Task(kind, ("a", "b", "c")) if kind != "regression" else Task(kind, target_mean=3.0, target_std=2.0)
        train, val = ((x[part], targets[kind][part]) for part in parts)
        assert linear_scores(task, train, val)[best] > 0.85


def test_where_it_can_be_paid_for_it_tells_which_rates_break_the_training(context, tmp_path):
    torch.manual_seed(0)
    given = {"model.name": "own", "data.test_fraction": 0.0, "stages.tune.lr": 0.5, "stages.head.epochs": 200}
    config = resolve_config(None, [], {**given, "space": {"lr": {**RATES, "low": 0.01, "high": 10.0}}})
    ground = lay_ground(config.base_recipe(), tiny_data(), module=TinyNet(), notify=lambda _text: None)
    context = replace(context, data=ground.data, seed=ground.recipe.seed)
    space, ledger, told = search_space(config, ground, None), MemoryLedger(SCORE), []
    found = probed(config, space, ledger, context, ground, notify=told.append)
    assert found.rates is None, "the first answer does not wait for it"
    found = limited(space, ledger, context, ground, found=found, notify=told.append)
    assert found.rates.by_depth.keys() == {1}
    assert 0.1 < found.rates.by_depth[1] < 15.0
    assert f"rates break above {found.rates.by_depth[1]:.1e} (top 1)" in told[-1]
    assert Probed.from_plain(ledger.meta()[PROBE]).rates == found.rates
    kept = Probed.from_plain(ledger.meta()[PROBE])
    assert limited(space, ledger, context, ground, found=kept, notify=print) is kept, "they are tried once"
    untried = replace(kept, rates=None)
    late = limited(space, ledger, context, ground, found=untried, deadline=0.0, notify=told.append)
    assert late.rates.by_depth == {}
    assert told[-1] == "probe: no rates were tried, the time budget is too short for it"


@pytest.mark.parametrize(("depths", "head"), [({0: 0.9, 2: 0.9}, "solved"), ({0: 0.5, 2: 0.9}, "steady")])
def test_a_solved_head_is_started_from_where_no_deeper_features_are_better(world, context, monkeypatch, depths, head):
    heads = {"steady": 0.8, "quick": 0.7, "solved": 0.85}
    monkeypatch.setattr(_Probe, "_depths", lambda *_: depths)
    monkeypatch.setattr(_Probe, "_heads", lambda *_: heads.items())
    assert find(world, context, MemoryLedger(SCORE)).head == head


def test_features_that_do_not_fit_into_memory_are_not_solved_for(world, context, monkeypatch):
    monkeypatch.setattr("autoft.tuner.prepare._FEATURES_BYTES", 100)
    config, ground, _ = world
    space = search_space(config, ground, None)
    found = find((config, ground, space), context, MemoryLedger(SCORE))
    assert set(found.heads) == {"gentle", "steady", "quick", "damped"}
    assert [len(recipe.stages) for _, recipe in baselines_of(ground)] == [1, 2, 2]
