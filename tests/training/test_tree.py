"""The stage tree: a stage is run once, and a trial that forks from its result is like one run from scratch."""

import threading
import time

import pytest
import torch

from autoft.errors import StorageError
from autoft.record import Objective
from autoft.training import StageKeys, StageTree

HEAD = {"name": "head", "epochs": 2, "head_lr": 1e-2}
MIDDLE = {"name": "middle", "unfreeze": 1, "epochs": 2}
DEEP = {"name": "deep", "unfreeze": 2, "epochs": 2, "lr": 1e-3}


def trainer_of(tiny, world, stages, tree=None, **sections):
    return world.trainer(tiny.recipe(stages, **sections), tree=tree)


def result_of(trainer):
    result = trainer.result()
    return result.value, sorted((name, tensor.tolist()) for name, tensor in result.weights.items())


@pytest.mark.parametrize("sections", [{}, {"optimisation": {"ema_decay": 0.9}}, {"optimisation": {"opt": "sgd"}}])
def test_a_forked_stage_equals_one_run_from_scratch(tiny, tmp_path, sections):
    world, tree = tiny.world(), StageTree(tmp_path)
    tiny.finish(trainer_of(tiny, world, [HEAD, MIDDLE, {**DEEP, "lr": 1e-2}], tree, **sections))
    scratch = trainer_of(tiny, world, [HEAD, MIDDLE, DEEP], **sections)
    expected = tiny.seen(tiny.finish(scratch))
    forked = trainer_of(tiny, world, [HEAD, MIDDLE, DEEP], tree, **sections)
    curve = tiny.finish(forked)
    assert tiny.seen(curve) == expected
    assert [e.reused for e in curve] == ["stage:head"] * 2 + ["stage:middle"] * 2 + [""] * 2
    assert result_of(forked) == result_of(scratch)


def test_a_fork_tells_all_evaluations_of_its_stage_at_once(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    tiny.finish(trainer_of(tiny, world, [HEAD, MIDDLE], tree))
    trainer = trainer_of(tiny, world, [HEAD, DEEP], tree)
    assert [e.stage for e in trainer.advance()] == ["head", "head"]
    assert [e.stage for e in trainer.advance()] == ["deep"]


def test_a_trial_goes_on_from_a_checkpoint_between_a_fork_and_what_follows(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path / "stages")
    expected = tiny.seen(tiny.finish(trainer_of(tiny, world, [HEAD, DEEP])))
    tiny.finish(trainer_of(tiny, world, [HEAD, MIDDLE], tree))
    for steps in (1, 2):
        trainer = trainer_of(tiny, world, [HEAD, DEEP], tree)
        for _ in range(steps):
            trainer.advance()
        trainer.save(tmp_path / f"{steps}")
        resumed = trainer_of(tiny, world, [HEAD, DEEP], tree)
        assert resumed.restore(tmp_path / f"{steps}")
        assert tiny.seen(tiny.finish(resumed)) == expected


def test_a_stage_that_diverged_forks_as_such(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    hot = {**HEAD, "head_lr": 1e9}
    first = tiny.finish(trainer_of(tiny, world, [hot], tree))
    assert first[-1].diverged
    again = trainer_of(tiny, world, [hot], tree)
    assert str(tiny.seen(tiny.finish(again))) == str(tiny.seen(first))
    assert again.done


def keys(tiny, world):
    world.trainer(tiny.recipe([HEAD]))
    return StageKeys(world.loaded, world.data, Objective("accuracy", "max"))


SAME = [
    ({}, {"stages.tune.lr": 1e-5, "stages.tune.unfreeze": 1}, "what follows"),
    ({}, {"stages.head.lr": 1e-5, "stages.head.norm": "eval", "stages.head.layer_decay": 0.5}, "backbone settings"),
    ({"stages.head.weight_decay": 0.1}, {"optimisation.weight_decay": 0.5}, "decay of later stages"),
    ({"stages.head.drop_rate": 0.1}, {"model.drop_rate": 0.3}, "dropout of later stages"),
    ({}, {"model.drop_path_rate": 0.2}, "drop path, where the backbone rests"),
    ({"optimisation.weight_decay": 0.5}, {"stages.head.weight_decay": 0.5}, "the same decay said otherwise"),
]
OTHER = [
    {"seed": 1},
    {"data.batch_size": 5},
    {"data.augment": "flip"},
    {"model.drop_rate": 0.3},
    {"optimisation.weight_decay": 0.5},
    {"optimisation.label_smoothing": 0.1},
    {"optimisation.memory_format": "channels_last"},
    {"stages.head.epochs": 3},
    {"stages.head.head_lr": 2e-2},
    {"stages.head.drop_rate": 0.1},
    {"stages.head.patience": 1},
]


@pytest.mark.parametrize(("common", "changes", "_of"), SAME, ids=[name for _, _, name in SAME])
def test_what_a_stage_does_not_depend_on_leaves_its_name(tiny, common, changes, _of):
    recipe = tiny.recipe().override(common)
    named = keys(tiny, tiny.world())
    assert named.key(recipe, 0) == named.key(recipe.override(changes), 0)


@pytest.mark.parametrize("changes", OTHER, ids=lambda changes: next(iter(changes)))
def test_whatever_a_stage_depends_on_changes_its_name(tiny, changes):
    named, recipe = keys(tiny, tiny.world()), tiny.recipe()
    assert named.key(recipe, 0) != named.key(recipe.override(changes), 0)


def test_other_weights_data_metrics_and_threads_are_other_stages(tiny):
    recipe, named = tiny.recipe(), set()
    named.add(keys(tiny, tiny.world()).key(recipe, 0))
    named.add(keys(tiny, tiny.world(net=tiny.conv_net(drop=0.1).apply(_shifted))).key(recipe, 0))
    world = tiny.world()
    world.trainer(recipe)
    named.add(StageKeys(world.loaded, world.data, Objective("loss", "min")).key(recipe, 0))
    torch.set_num_threads(2)
    named.add(keys(tiny, tiny.world()).key(recipe, 0))
    assert len(named) == 4


def _shifted(part):
    if isinstance(part, torch.nn.Conv2d):
        with torch.no_grad():
            part.weight.add_(0.1)


def test_a_second_trial_waits_for_the_first_and_forks(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    first = trainer_of(tiny, world, [HEAD, MIDDLE], tree)
    first.advance()
    second, curves = trainer_of(tiny, tiny.world(), [HEAD, DEEP], tree), []
    waiting = threading.Thread(target=lambda: curves.append(second.advance()))
    waiting.start()
    time.sleep(0.2)
    assert curves == []
    first.advance()
    waiting.join(timeout=10)
    assert [e.reused for e in curves[0]] == ["stage:head"] * 2


def test_a_trial_that_is_dropped_lets_others_run_its_stage(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    first = trainer_of(tiny, world, [HEAD, MIDDLE], tree)
    first.advance()
    first.close()
    assert first.done
    assert [e.reused for e in trainer_of(tiny, world, [HEAD, DEEP], tree).advance()] == [""]


def test_a_wait_ends_when_the_time_is_up(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    first = trainer_of(tiny, world, [HEAD, MIDDLE], tree)
    first.advance()
    asked = iter([False] * 5 + [True] * 9)
    second = world.trainer(tiny.recipe([HEAD, DEEP]), tree=tree, should_stop=lambda: next(asked))
    assert second.advance() == ()
    assert not first.done
    assert not second.done


def test_a_damaged_result_is_run_again(tiny, tmp_path):
    world, tree = tiny.world(), StageTree(tmp_path)
    expected = tiny.seen(tiny.finish(trainer_of(tiny, world, [HEAD, MIDDLE], tree)))
    for path in tmp_path.glob("*/*.safetensors"):
        path.write_bytes(path.read_bytes()[:-3])
    again = tiny.finish(trainer_of(tiny, world, [HEAD, MIDDLE], tree))
    assert tiny.seen(again) == expected
    assert {e.reused for e in again} == {""}


def test_a_disk_that_is_full_costs_the_fork_and_not_the_trial(tiny, tmp_path, monkeypatch):
    def full(*_arguments, **_options):
        raise StorageError("No space left on device")

    monkeypatch.setattr("autoft.training.tree.write_checkpoint", full)
    told = []
    world, tree = tiny.world(), StageTree(tmp_path, notify=told.append)
    curve = tiny.finish(trainer_of(tiny, world, [HEAD, MIDDLE], tree))
    assert len(curve) == 4
    assert len(told) == 1
    assert "No space left" in told[0]
