"""What is delivered never loses to a baseline by more than chance, and its recipe leads to the number that is told."""

import json
import re
from dataclasses import dataclass, replace

import pytest
import torch
from reuse_runs import data_of, recipe_of
from safetensors.torch import load_file
from tiny import TinyNet, tiny_data

import autoft
from autoft.cli.outcome import outcome
from autoft.model import load_model
from autoft.recipe import Recipe
from autoft.record import Objective, Proposal, TrialRecord, TrialState
from autoft.study import MemoryLedger
from autoft.training import Judge, Scorer, StagedTrainer, thread_count
from autoft.training.checkpoint import best_weights, write_checkpoint
from autoft.training.gains import Tried
from autoft.tuner.closing import Closing
from autoft.tuner.conclude import conclude
from autoft.tuner.conductor import Clock, Conductor
from autoft.tuner.confirmation.plan import fresh_seed
from autoft.tuner.delivery import really_ahead, train_again
from autoft.tuner.forecast import Forecast
from autoft.tuner.layout import Layout, Slots
from autoft.tuner.observer import Silent
from autoft.tuner.prepare import Ground, lay_ground
from autoft.tuner.run_folder import RunFolder

ACCURACY, LOSS = Objective("accuracy", "max"), Objective("loss", "min")
RECIPE = {
    "model": "tiny.TinyNet",
    "data": {"batch_size": 8},
    "stages": [
        {"name": "head", "epochs": 2, "head_lr": 1e-2},
        {"name": "tune", "epochs": 12, "unfreeze": "all", "lr": 1e-2, "head_lr": 1e-2},
    ],
    "optimisation": {"memory_format": "contiguous"},
}
HOPELESS = {f"stages.{stage}.{rate}": 1e-12 for stage in ("head", "tune") for rate in ("lr", "head_lr")}
WINNER, FULL, OTHER = 3, 2, 4


@dataclass(frozen=True)
class Trained:
    """Five trials with the weights that they came to; the winner of the confirmation is the fourth."""

    net: torch.nn.Module
    ground: Ground
    records: tuple[TrialRecord, ...]
    weights: tuple[dict, ...]


@pytest.fixture(scope="module")
def data():
    return tiny_data(train=96, val=60, test=24)


@pytest.fixture(scope="module")
def trained(data):
    torch.manual_seed(0)
    net = TinyNet()
    ground = lay_ground(Recipe.parse(RECIPE, where="test"), data, module=net, notify=lambda _text: None)
    head = {"stages": ground.recipe.full()["stages"][:1]}
    plans = [
        (ground.recipe.override(head), "baseline:head_only"),
        (ground.recipe.override({"stages.tune.unfreeze": 1}), "baseline:standard"),
        (ground.recipe, "baseline:full"),
        (ground.recipe.override({"optimisation.weight_decay": 1e-3}), "tpe"),
        (ground.recipe.override({"optimisation.weight_decay": 1e-2}), "tpe"),
    ]
    results = []
    for number, (recipe, origin) in enumerate(plans):
        trainer = StagedTrainer(recipe, ground.loaded.reset(), ground.data, ACCURACY)
        with thread_count(1):
            while trainer.advance():
                pass
        record = TrialRecord(number, TrialState.COMPLETE, Proposal(recipe.full(), origin), trainer.curve)
        results.append((record, trainer.result().weights))
    records, weights = zip(*results, strict=True)
    return Trained(net, ground, records, weights)


def unlucky(trained, number, changes=None):
    """The trial with weights that are worth nothing, and the curve of such."""
    record = trained.records[number]
    weights = {name: torch.zeros_like(tensor) for name, tensor in trained.weights[number].items()}
    value = Judge(Scorer(trained.ground.loaded, trained.ground.data), ACCURACY, winner=weights).value
    length = len(record.curve)
    curve = tuple(replace(each, value=value - 0.01 * (length - each.index)) for each in record.curve)
    recipe = Recipe.parse(record.proposal.recipe, where="test").override(changes or {})
    return replace(record, curve=curve, proposal=replace(record.proposal, recipe=recipe.full())), weights


def said(*candidates, values=(0.9, 0.95)):
    ranked = [{"trial": trial, "mean": 0.9 - 0.01 * place, "values": values} for place, trial in enumerate(candidates)]
    told = [{**each, "interval": None, "runs": 2} for each in ranked]
    return {"winner": candidates[0], "candidates": told, "runs": 2, "why": "it is the best", "unfreezing": {}}


def concluded(trained, path, told, changed=None, **closing):
    """The end of a search of these trials, some with another record and other weights."""
    folder = RunFolder(path / "run")
    changed = changed or {}
    weights = {number: changed[number][1] if number in changed else own for number, own in enumerate(trained.weights)}
    for number, each in weights.items():
        write_checkpoint(folder.checkpoint(number), {"trial_best": each}, {"best": "trial_best"})
    ledger = MemoryLedger(ACCURACY, [changed.get(each.number, (each,))[0] for each in trained.records])
    conductor = Conductor(ledger, Enough(), ACCURACY, Clock(0.0, now=lambda: 1.0), 1, Silent())
    forecast = Forecast(Layout("contiguous", 1, Slots(1, 1, 0.0)))
    settings = Closing(**{"gains": False, "forgetting": False} | closing)
    return conclude(folder, trained.ground, conductor, forecast=forecast, closing=settings, confirmation=told)


class Enough:
    pauses, num_samples = False, 5

    def enough(self, records):
        return "all 5 recipes were tried"


def value_of_model(trained, result):
    """The metric of best_model.safetensors on the validation split."""
    state = load_file(result.path / "best_model.safetensors")
    return Judge(Scorer(trained.ground.loaded, trained.ground.data), ACCURACY, winner=state).value


def assert_law(trained, result, data):
    """The model has the value that is told, its recipe leads to it, and no baseline's weights are really better."""
    assert value_of_model(trained, result) == result.best_value == result.best_recipe.provenance.value
    again = autoft.fine_tune(result.best_recipe, data, model=trained.net)
    assert again.reproduced
    own = {name: tensor.clone() for name, tensor in again.module.state_dict().items()}
    judge = Judge(Scorer(trained.ground.loaded, trained.ground.data), ACCURACY, winner=own)
    for number in (0, 1, 2):
        assert not judge.compare("baseline", best_weights(RunFolder(result.path).checkpoint(number))).is_real


def test_weights_that_no_finalist_betters_are_delivered_as_they_are(trained, data, tmp_path):
    best = max(trained.records, key=lambda record: (record.best(ACCURACY).value, -record.number)).number
    result = concluded(trained, tmp_path, said(best, 0, 1, 2))
    told = result.summary["delivered"]
    assert (told["trial"], told["weights"], told["seed"], told["compared"]) == (best, "own", 0, [])
    assert_law(trained, result, data)


def test_a_winner_whose_weights_are_gone_leaves_no_model_of_another_trial_and_that_is_told(trained, tmp_path):
    folder = RunFolder(tmp_path / "run")
    concluded(trained, tmp_path, said(FULL, 0, 1))
    for told, model, remedy in (
        (said(FULL, 0, 1), True, "best_model.safetensors is as it was, and nothing was scored with it again"),
        (said(WINNER, 0, 1), False, "so there is no best_model.safetensors; autoft train .* makes it again"),
    ):
        result = concluded(trained, tmp_path, told, {number: (trained.records[number], {}) for number in range(5)})
        number = told["winner"]
        assert result.summary["winner"] == number
        assert any(re.search(f"weights of trial {number} are gone.*{remedy}", note) for note in result.summary["notes"])
        assert folder.best_model.is_file() == model


def test_an_unlucky_winner_is_trained_again_with_the_seed_of_its_best_run(trained, data, tmp_path):
    result = concluded(trained, tmp_path, said(WINNER, FULL, 0, 1), {WINNER: unlucky(trained, WINNER)})
    told = result.summary["delivered"]
    assert (result.summary["winner"], told["weights"]) == (WINNER, "trained again")
    assert told["seed"] == result.best_recipe.seed == fresh_seed(0, 1), "the second run had the higher value"
    assert told["compared"][0]["worse"]
    assert_law(trained, result, data)
    assert any(str(part).startswith(f"weights trial {WINNER} won, but") for part in outcome(result.summary))
    json.loads((result.path / "summary.json").read_text())


def test_a_recipe_that_stays_bad_gives_way_to_the_next_of_the_confirmation(trained, data, tmp_path):
    changed = {WINNER: unlucky(trained, WINNER, HOPELESS)}
    result = concluded(trained, tmp_path, said(WINNER, OTHER, 0, 1, 2), changed)
    told = result.summary["delivered"]
    assert told["weights"] == "another recipe"
    assert result.summary["winner"] == told["trial"] != WINNER
    assert "trained again it was no better" in told["text"]
    assert_law(trained, result, data)


def test_without_time_to_train_again_the_next_recipe_is_delivered_and_that_is_told(trained, data, tmp_path):
    record, weights = unlucky(trained, WINNER)
    slow = replace(record, curve=tuple(replace(each, compute_s=1000.0) for each in record.curve))
    time = {"until": 1000.0, "now": lambda: 500.0}
    result = concluded(trained, tmp_path, said(WINNER, FULL, 0, 1), {WINNER: (slow, weights)}, **time)
    assert "there was no time to train it again" in result.summary["delivered"]["text"]
    assert_law(trained, result, data)


@pytest.mark.parametrize(
    ("origin", "gain", "ahead"),
    [
        ("baseline:full", 0.011, True),
        ("baseline:full", 0.01, False),
        ("tpe", 0.02, False),
        ("tpe", 0.021, True),
        ("baseline:full", -0.5, False),
    ],
)
def test_who_was_chosen_among_many_on_these_items_must_be_further_ahead(trained, origin, gain, ahead):
    rival = replace(trained.records[OTHER], proposal=replace(trained.records[OTHER].proposal, origin=origin))
    assert really_ahead(rival, Tried("it", 0.9, gain, 0.01)) is ahead
    assert not really_ahead(rival, Tried("it", 0.9, gain, float("nan"))), "nothing can be said"


def test_mixtures_and_a_refit_start_from_what_was_trained_again(trained, data, tmp_path):
    changed = {WINNER: unlucky(trained, WINNER)}
    told = said(WINNER, FULL, 0, 1)
    mixed = concluded(trained, tmp_path / "mixed", told, changed, gains=True, forgetting=True)
    assert mixed.summary["delivered"]["weights"] == "trained again"
    assert mixed.summary["gains"]["tried"]
    assert value_of_model(trained, mixed) >= mixed.best_value
    assert set(mixed.summary["forgetting"]) == {"model", "0", "1", "2"}
    refitted = concluded(trained, tmp_path / "refitted", told, changed, refit=True)
    assert refitted.summary["refit"]["kept"]
    assert refitted.best_recipe.seed == fresh_seed(0, 1)
    assert value_of_model(trained, refitted) > 0.6


def test_weights_of_another_seed_are_whole_where_the_backbone_is_drawn_by_it_too(tmp_path):
    recipe = recipe_of().override({"model.name": "test_vit", "model.weights": "random", "data.batch_size": 8})
    recipe = recipe.override({"optimisation.memory_format": "contiguous"})
    data = data_of(64, train=16)
    loaded = load_model(recipe.model, num_outputs=5, image_size=64, seed=0)
    ground = Ground(recipe, loaded, data, None)
    with thread_count(1):
        curve, weights = train_again(recipe.override({"seed": 7}), ground, LOSS, should_stop=lambda: False)
        found = Judge(Scorer(loaded, data), LOSS, winner=weights)
    assert found.value == pytest.approx(min(each.value for each in curve), rel=1e-5)
    untouched = next(name for name in loaded.groups[0].parameters)
    assert untouched in weights
    same = train_again(recipe, ground, LOSS, should_stop=lambda: False)
    assert untouched not in same[1], "with the seed of the search it is the base's"
    assert train_again(recipe, ground, LOSS, should_stop=lambda: True) is None
