import math
from dataclasses import replace

import optuna
import pytest
import torch
from tiny import TinyNet, tiny_data

from autoft.cache.cost import Boundary, Machine, building_seconds
from autoft.cache.measure import MeasurementError, Speed
from autoft.record import Evaluation, Proposal, TrialRecord, TrialState
from autoft.tuner.config import resolve_config
from autoft.tuner.forecast import expected_passes, expected_recipes, look_ahead
from autoft.tuner.layout import Layout, Slots
from autoft.tuner.predict import Predictor, predicted_in_all, predicted_s, surprise_at
from autoft.tuner.prepare import lay_ground, search_space
from autoft.tuner.preview import affordable

LAYOUT = Layout("contiguous", 1, Slots(2, 1, 0.0))
STAGES = [{"name": "head", "epochs": 2}, {"name": "tune", "epochs": 3, "unfreeze": 1, "lr": 1e-3}]
SPEED = Speed(8, (1.0, 2.0, 0.5), (4.0, 8.0, 1.0), (100.0, 200.0, 10.0), (64, 64, 12))
MACHINE = Machine(bytes_per_s=6400.0, item_s=0.25)


class Measured:
    def __init__(self, speed=SPEED):
        self.speed = speed

    def exact(self, _setting):
        if self.speed is None:
            raise MeasurementError("does not run")
        return self.speed


def world(**overrides):
    """A configuration, and 48 items to train on, 24 to validate on: one and a half and one micro-batches."""
    torch.manual_seed(0)
    options = {
        "model.name": "own",
        "stages": STAGES,
        "search.num_samples": 8,
        "search.scheduler": "none",
        "data.test_fraction": 0.0,
    }
    config = resolve_config(None, [], {**options, **overrides})
    return config, lay_ground(config.base_recipe(), tiny_data(), module=TinyNet(), notify=lambda _text: None)


@pytest.fixture(scope="module")
def ground():
    return world()[1]


def ahead(speed=SPEED, given=None, **overrides):
    config, ground = world(**overrides)
    objective = ground.data.task.objective(None)
    space = search_space(config, ground, given)
    return look_ahead(config, ground, space, objective, LAYOUT, Measured(speed))


def test_the_costs_of_a_stage_are_those_of_its_parts(ground):
    predicted = Predictor(ground.loaded, ground.data, SPEED, MACHINE).per_epoch(ground.recipe)
    steps, train, val = 2, 48, 24
    entering = 0.25 * (train + val) + (64 + 32) * 3.0  # items, and the prefix in whole micro-batches
    assert predicted["head"] == pytest.approx(entering + train * 1.0 + steps * 10.0 + 32 * 0.5)
    entering = 0.25 * (train + val) + (64 + 32) * 1.0
    assert predicted["tune"] == pytest.approx(entering + train * 9.0 + steps * 210.0 + 32 * 2.5)
    total = Predictor(ground.loaded, ground.data, SPEED, MACHINE).total(ground.recipe)
    assert total == pytest.approx(2 * predicted["head"] + 3 * predicted["tune"])
    assert val == len(ground.data.splits.val)


def test_what_is_kept_is_read_instead_of_computed(ground):
    predictor = Predictor(ground.loaded, ground.data, SPEED, MACHINE, frozenset({2}))
    read = (48 + 24) * 64 / 6400
    assert predictor.per_epoch(ground.recipe)["head"] == pytest.approx(read + 48 * 1.0 + 2 * 10.0 + 32 * 0.5)
    mixed = ground.recipe.override({"optimisation.mixup": 0.2})
    without = replace(predictor, kept=frozenset())
    assert predictor.per_epoch(mixed)["head"] < without.per_epoch(mixed)["head"], "validation reads"
    assert predictor.per_epoch(mixed)["head"] > predictor.per_epoch(ground.recipe)["head"], "training cannot"


def test_a_model_that_cannot_be_cut_costs_the_same_in_every_stage(ground):
    chain = type(ground.loaded.chain).opaque(ground.loaded.module, "for this test")
    whole = replace(ground.loaded, chain=chain)
    predicted = Predictor(whole, ground.data, Speed(8, (1.0,), (3.0,), (10.0,), (0,)), MACHINE).per_epoch(ground.recipe)
    assert predicted["head"] == predicted["tune"] == pytest.approx(0.25 * 72 + 48 * 3.0 + 2 * 10.0 + 32 * 1.0)


def record(curve, predicted):
    return TrialRecord(0, TrialState.COMPLETE, Proposal({}, "random", predicted=predicted), tuple(curve))


def seen(index, stage, epoch, **fields):
    return Evaluation(index, stage, epoch, index, value=0.5, train_loss=1.0, val_loss=1.0, **fields)


def test_a_trials_prediction_is_for_the_epochs_that_it_trained_itself():
    curve = [seen(1, "head", 1.0), seen(2, "head", 2.0), seen(3, "tune", 1.5)]
    assert predicted_s(record(curve, {"head": 3.0, "tune": 4.0})) == 12.0
    forked = [*(replace(each, reused="stage:head") for each in curve[:2]), curve[2]]
    assert predicted_s(record(forked, {"head": 3.0, "tune": 4.0})) == 6.0
    assert predicted_s(record(curve, {})) is None
    known = record(curve, {"head": 3.0, "tune": 4.0})
    assert predicted_in_all([known, known], 1.0) == 25.0
    assert predicted_in_all([known, record(curve, {})], 1.0) is None, "of an earlier version"


@pytest.mark.parametrize(
    ("took", "predicted", "told"), [(14, 10, False), (16, 10, True), (10, 16, True), (2, 1, False), (9, None, False)]
)
def test_a_difference_of_more_than_a_half_is_told(took, predicted, told):
    assert bool(surprise_at(took, predicted)) == told


def test_proposals_of_older_studies_can_be_read():
    plain = Proposal({"model": "m"}, "random").plain()
    del plain["predicted"]
    assert Proposal.from_plain(plain).predicted == {}


def test_the_plan_keeps_what_pays_and_tells_both_costs(monkeypatch):
    monkeypatch.setattr("autoft.tuner.forecast.measure", lambda _data: MACHINE)
    outlook = ahead()
    forecast = outlook.forecast
    assert [(kept.boundary, kept.group, kept.nbytes) for kept in forecast.kept] == [
        (1, "block1", 72 * 64),
        (2, "block2", 72 * 64),
    ]
    assert outlook.reuse.chosen == frozenset({1, 2})
    assert 0 < forecast.trials_s < forecast.trials_without_reuse_s
    plain = forecast.plain()
    assert (plain["bytes"], plain["slots"], plain["memory_format"]) == (2 * 72 * 64, 2, "contiguous")
    assert outlook.predict(world()[1].recipe.full()).keys() == {"head", "tune"}


def test_a_budget_keeps_what_saves_most_per_byte(monkeypatch):
    monkeypatch.setattr("autoft.tuner.forecast.measure", lambda _data: MACHINE)
    outlook = ahead(**{"reuse.max_bytes": 72 * 64})
    assert outlook.reuse.chosen == frozenset({2})


def test_without_reuse_nothing_is_kept():
    outlook = ahead(reuse="off")
    assert outlook.reuse is None
    assert outlook.forecast.kept == ()
    assert outlook.forecast.trials_s == outlook.forecast.trials_without_reuse_s


def test_a_model_that_does_not_run_is_searched_without_predictions():
    outlook = ahead(speed=None)
    assert outlook.forecast.plain()["trials_s"] is None
    assert outlook.reuse.chosen is None
    assert outlook.predict({}) == {}


def test_a_recipe_that_does_not_fit_the_model_has_no_prediction():
    recipe = world()[1].recipe.full()
    recipe["stages"][0]["unfreeze"] = 9
    assert ahead().predict(recipe) == {}


def test_a_users_function_is_not_called_for_the_forecast():
    calls = []

    def space(trial):
        calls.append(trial)
        return {"stages.tune.lr": trial.suggest_float("lr", 1e-4, 1e-2)}

    config, ground = world()
    built = search_space(config, ground, space)
    before = len(calls)
    found = expected_recipes(config, ground, built, ground.data.task.objective(None))
    assert len(calls) == before
    assert math.fsum(share for _, share in found) == pytest.approx(8)
    assert [recipe.stages[-1].unfreeze for recipe, _ in found[3:]] == [0, 1, 2]


def test_a_boundary_that_no_draw_hits_between_two_that_are_hit_is_expected_too(monkeypatch):
    config, ground = world(**{"search.num_samples": 4})
    space = {"stages.tune.lr": optuna.distributions.FloatDistribution(1e-4, 1e-2)}
    passes = expected_passes(config, ground, search_space(config, ground, space), ground.data.task.objective(None))
    assert set(passes) == {1, 2}
    assert all(count > 0 for count in passes.values())


def test_one_pass_builds_all_boundaries():
    near, far = Boundary(1, row_bytes=64, row_s=1.0, passes=9), Boundary(2, row_bytes=64, row_s=3.0, passes=9)
    assert building_seconds([], MACHINE, items=10) == 0.0
    both = building_seconds([near, far], MACHINE, items=10)
    assert both == pytest.approx(2 * 0.05 + 10 * (0.25 + 3.0 + 3 * 128 / 6400))
    twice = building_seconds([replace(far, variants=2)], MACHINE, items=10)
    assert twice == pytest.approx(2 * 0.05 + 10 * (0.25 + 6.0 + 3 * 128 / 6400))


@pytest.mark.parametrize(("slot_s", "count"), [(0.0, 0), (1.5, 1), (3.0, 2), (7.1, 4), (-5.0, 0)])
def test_a_budget_affords_the_baselines_first(slot_s, count):
    assert affordable([1.0, 2.0], 2.0, slot_s) == count
