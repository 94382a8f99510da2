import pytest
import torch

from autoft.training.checkpoint import best_average, best_weights, read_checkpoint, slim_checkpoint
from autoft.training.ema import WeightAverage
from autoft.training.lengths import averaged

STAGES = [{"name": "head", "epochs": 2}, {"name": "all", "unfreeze": "all", "epochs": 4, "lr": 0.02}]


def test_the_average_moves_towards_the_live_weights_by_one_minus_the_decay():
    live = torch.zeros(3)
    average = WeightAverage({"w": live}, 0.9)
    live.fill_(1.0)
    average.update(step=1000)
    assert average.values["w"].tolist() == pytest.approx([0.1] * 3)


def test_early_steps_weigh_more_so_that_a_short_stage_is_not_stuck_at_its_start():
    live = torch.zeros(1)
    average = WeightAverage({"w": live}, 0.9999)
    live.fill_(1.0)
    average.update(step=1)
    assert average.values["w"].item() == pytest.approx(1 - 2 / 11)


def test_in_place_shows_the_average_and_gives_the_live_weights_back_bit_for_bit():
    live = torch.randn(50, generator=torch.Generator().manual_seed(0))
    average = WeightAverage({"w": live}, 0.5)
    raw = live.mul_(1.7).clone()
    average.update(step=50)
    mean = average.values["w"].clone()
    with average.in_place():
        assert torch.equal(live, mean)
    assert torch.equal(live, raw)
    assert torch.equal(average.values["w"], mean)


def test_in_place_gives_the_live_weights_back_after_an_error():
    live = torch.ones(2)
    average = WeightAverage({"w": live}, 0.5)
    live.fill_(3.0)
    with pytest.raises(RuntimeError), average.in_place():
        raise RuntimeError
    assert live.tolist() == [3.0, 3.0]


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("norm", ["train", "eval"])
def test_an_average_beside_the_weights_changes_nothing_and_a_recipe_leads_to_it(tiny, tmp_path, norm):
    stages = [STAGES[0], {**STAGES[1], "norm": norm}]
    recipe, world = tiny.recipe(stages), tiny.world()
    plain, beside = world.trainer(recipe), world.trainer(recipe, beside=0.8)
    assert tiny.seen(tiny.finish(plain)) == tiny.seen(tiny.finish(beside))
    assert same(plain.result().weights, beside.result().weights)
    assert beside.result().best.stage == "all", "the case is no case"
    beside.save(tmp_path)
    kept = best_average(tmp_path)
    assert not same(kept, best_weights(tmp_path))
    again = world.trainer(averaged(recipe, beside.curve, world.data.task.objective(None), decay=0.8))
    tiny.finish(again)
    assert same(again.result().weights, kept)


def test_the_average_goes_on_after_an_interruption_and_outlasts_what_is_not_needed(tiny, tmp_path):
    recipe, world = tiny.recipe(STAGES), tiny.world()
    whole = world.trainer(recipe, beside=0.8)
    tiny.finish(whole)
    whole.save(tmp_path / "whole")
    for _ in range(6):
        part = world.trainer(recipe, beside=0.8)
        part.restore(tmp_path / "parts")
        part.advance()
        part.save(tmp_path / "parts")
    slim_checkpoint(tmp_path / "parts")
    assert same(best_average(tmp_path / "parts"), best_average(tmp_path / "whole"))


@pytest.mark.parametrize(
    ("stages", "sections"),
    [
        pytest.param(STAGES[:1], {}, id="the head alone"),
        pytest.param(STAGES, {"optimisation": {"ema_decay": 0.9}}, id="a recipe that keeps one anyway"),
        pytest.param([STAGES[0], {**STAGES[1], "ema_decay": 0.9}], {}, id="a stage that does"),
    ],
)
def test_where_none_is_kept_beside_there_is_none(tiny, tmp_path, stages, sections):
    trainer = tiny.world().trainer(tiny.recipe(stages, **sections), beside=0.8)
    tiny.finish(trainer)
    trainer.save(tmp_path)
    assert best_average(tmp_path) is None
    assert best_average(tmp_path / "nowhere") is None


def test_a_trial_that_began_without_an_average_goes_on_without(tiny, tmp_path):
    recipe, world = tiny.recipe(STAGES), tiny.world()
    begun = world.trainer(recipe)
    for _ in range(4):
        begun.advance()
    begun.save(tmp_path)
    on = world.trainer(recipe, beside=0.8)
    on.restore(tmp_path)
    tiny.finish(on)
    on.save(tmp_path)
    assert read_checkpoint(tmp_path)[0]["trial_best_average"] == {}
