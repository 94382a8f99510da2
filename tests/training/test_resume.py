import json
from dataclasses import replace

import pytest
import torch

from autoft.errors import RunError, StorageError
from autoft.model import named_tensors
from autoft.training import best_weights, evaluate
from autoft.training.weights import load_weights

HEAD, TOP, ALL = (
    {"name": "head", "epochs": 2},
    {"name": "top", "unfreeze": 1, "epochs": 2},
    {"name": "all", "unfreeze": "all", "epochs": 2},
)

CASES = [
    pytest.param([HEAD, TOP, ALL], {}, id="adamw over three stages"),
    pytest.param([HEAD, TOP, ALL], {"optimisation": {"opt": "sgd"}}, id="sgd with momentum"),
    pytest.param([HEAD, TOP, ALL], {"optimisation": {"ema_decay": 0.9}}, id="an average"),
    pytest.param([HEAD, TOP], {"optimisation": {"mixup": 0.3, "label_smoothing": 0.1}}, id="mixup"),
    pytest.param([HEAD, TOP], {"model": {"drop_rate": 0.3}, "data": {"augment": "strong"}}, id="dropout, augmentation"),
    pytest.param([{**ALL, "epochs": 9, "patience": 2, "lr": 0.05}, TOP], {}, id="patience"),
    pytest.param([HEAD, {**ALL, "norm": "eval"}, TOP], {"data": {"sampler": "balanced"}}, id="deep, then less deep"),
    pytest.param(
        [{**ALL, "schedule": "cosine", "warmup_steps": 2}],
        {"optimisation": {"eval_every_steps": 2}},
        id="cosine, by steps",
    ),
]


@pytest.mark.parametrize(("stages", "sections"), CASES)
def test_resume_equals_uninterrupted_bit_for_bit_at_every_evaluation(tiny, tmp_path, stages, sections):
    world, recipe = tiny.world(), tiny.recipe(stages, **sections)
    trainer = world.trainer(recipe)
    moments = []
    while trainer.advance():
        moments.append(tmp_path / f"{len(moments)}")
        trainer.save(moments[-1])
    expected, weights = tiny.seen(trainer.curve), dict(trainer.result().weights)
    trainer.load_best()
    end = {name: tensor.clone() for name, tensor in named_tensors(world.loaded.module).items()}
    for moment in moments:
        resumed = world.trainer(recipe)
        assert resumed.restore(moment)
        assert tiny.seen(tiny.finish(resumed)) == expected
        assert resumed.result().recipe == trainer.result().recipe
        assert _equal(resumed.result().weights, weights)
        resumed.load_best()
        assert _equal(named_tensors(world.loaded.module), end)


def _equal(first, second) -> bool:
    return set(first) == set(second) and all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_a_checkpoint_between_two_evaluations_is_as_good(tiny, tmp_path):
    world, recipe = tiny.world(), tiny.recipe([HEAD, TOP], optimisation={"ema_decay": 0.9})
    expected = tiny.seen(tiny.finish(world.trainer(recipe)))
    for step in (1, 5, 6, 7):
        asked = iter([False] * step + [True] * 100)
        trainer = world.trainer(recipe, should_stop=lambda asked=asked: next(asked))
        tiny.finish(trainer)
        trainer.save(tmp_path / f"{step}")
        resumed = world.trainer(recipe)
        assert resumed.restore(tmp_path / f"{step}")
        assert tiny.seen(tiny.finish(resumed)) == expected


def test_seconds_of_compute_go_on_across_a_resume(tiny, tmp_path):
    world, recipe = tiny.world(), tiny.recipe([HEAD])
    asked = iter([False, True])
    trainer = world.trainer(recipe, should_stop=lambda: next(asked))
    trainer.advance()
    trainer._compute_s = 100.0
    trainer.save(tmp_path)
    resumed = world.trainer(recipe)
    resumed.restore(tmp_path)
    assert resumed.advance()[0].compute_s > 100.0


def test_a_finished_and_a_diverged_training_resume_as_such(tiny, tmp_path):
    world = tiny.world()
    for name, rate in (("finished", 1e-3), ("diverged", 1e12)):
        recipe = tiny.recipe([{**HEAD, "head_lr": rate}])
        trainer = world.trainer(recipe)
        curve = tiny.finish(trainer)
        trainer.save(tmp_path / name)
        resumed = world.trainer(recipe)
        assert resumed.restore(tmp_path / name)
        assert resumed.done
        assert resumed.advance() == ()
        assert str(tiny.seen(resumed.curve)) == str(tiny.seen(curve))


def test_without_a_checkpoint_nothing_is_restored(tiny, tmp_path):
    world, recipe = tiny.world(), tiny.recipe([HEAD])
    trainer = world.trainer(recipe)
    assert not trainer.restore(tmp_path / "none")
    assert tiny.seen(tiny.finish(trainer)) == tiny.seen(tiny.finish(world.trainer(recipe)))
    assert best_weights(tmp_path / "none") is None


@pytest.mark.parametrize("part", ["recipe", "base", "data", "objective"])
def test_a_checkpoint_of_something_else_is_refused_by_name(tiny, tmp_path, part):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([HEAD]))
    trainer.advance()
    trainer.save(tmp_path)
    recipe = tiny.recipe([{**HEAD, "head_lr": 0.5}] if part == "recipe" else [HEAD])
    if part == "base":
        world = tiny.world(net=_changed(tiny.conv_net()))
    if part == "data":
        world.data = _renamed(world.data)
    with pytest.raises(RunError, match=f"another {part}"):
        world.trainer(recipe, metric="log_loss" if part == "objective" else None).restore(tmp_path)


def _changed(net):
    with torch.no_grad():
        net[0].conv.weight[0] += 1.0
    return net


def _renamed(data):
    return replace(data, fingerprint="1" * 16)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda folder: (folder / "checkpoint-000002.safetensors").write_bytes(b"half"), id="tensors cut"),
        pytest.param(lambda folder: _flip(folder / "checkpoint-000002.safetensors"), id="a bit of the tensors"),
        pytest.param(lambda folder: (folder / "checkpoint-000002.safetensors").unlink(), id="tensors gone"),
        pytest.param(lambda folder: (folder / "checkpoint-000002.json").write_text("{"), id="json cut"),
        pytest.param(lambda folder: (folder / "checkpoint-000002.json").unlink(), id="json not yet written"),
        pytest.param(lambda folder: (folder / "checkpoint-000002.json").write_text("[]"), id="json of another kind"),
    ],
)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tiny, tmp_path, damage):
    world, recipe = tiny.world(), tiny.recipe([HEAD, TOP])
    trainer = world.trainer(recipe)
    for _ in range(2):
        trainer.advance()
        trainer.save(tmp_path)
    expected = tiny.seen(tiny.finish(trainer))
    damage(tmp_path)
    resumed = world.trainer(recipe)
    assert resumed.restore(tmp_path)
    assert len(resumed.curve) == 1
    assert tiny.seen(tiny.finish(resumed)) == expected
    resumed.save(tmp_path)
    again = world.trainer(recipe)
    assert again.restore(tmp_path)
    assert again.done


def _flip(path):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(bytes(content))


def test_when_all_checkpoints_are_damaged_the_training_starts_anew(tiny, tmp_path):
    world, recipe = tiny.world(), tiny.recipe([HEAD])
    trainer = world.trainer(recipe)
    trainer.advance()
    trainer.save(tmp_path)
    _flip(tmp_path / "checkpoint-000001.safetensors")
    assert not world.trainer(recipe).restore(tmp_path)


def test_a_folder_holds_two_checkpoints_and_nothing_half_written(tiny, tmp_path):
    trainer = tiny.world().trainer(tiny.recipe([{**HEAD, "epochs": 5}]))
    (tmp_path / ".checkpoint-000001.json.x.tmp").write_text("left by a kill")
    while trainer.advance():
        trainer.save(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"checkpoint-00000{n}.{kind}" for n in (4, 5) for kind in ("json", "safetensors")]


def test_a_checkpoint_holds_only_what_can_differ_from_the_base(tiny, tmp_path):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([{**HEAD, "epochs": 1}, {**TOP, "epochs": 1}]))
    groups, tensors = world.loaded.groups, named_tensors(world.loaded.module)

    def bytes_of(*members, kind=("parameters", "buffers")):
        return sum(tensors[name].nbytes for group in members for part in kind for name in getattr(group, part))

    head, top = groups[-1], groups[-2]
    trainer.advance()
    trainer.save(tmp_path)
    # The second stage has not been opened: the head with its two moments.
    steps = 4 * len(head.parameters)
    assert _tensor_bytes(tmp_path, 1) == 3 * bytes_of(head) + steps
    trainer.advance()
    trainer.save(tmp_path)
    # Nobody carries on the optimizer of the last stage.
    extra = _tensor_bytes(tmp_path, 2) - bytes_of(head, top)
    assert extra in {0, bytes_of(head)}, "and the best of the trial, where it is not what the stage ended with"


def _tensor_bytes(folder, number) -> int:
    content = (folder / f"checkpoint-{number:06d}.safetensors").read_bytes()
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    return sum(
        end - start for start, end in (entry["data_offsets"] for key, entry in header.items() if key != "__metadata__")
    )


def test_the_best_weights_of_a_checkpoint_are_those_of_the_result(tiny, tmp_path):
    world = tiny.world()
    trainer = world.trainer(tiny.recipe([ALL, {**HEAD, "head_lr": 2.0}]), metric="log_loss")
    while trainer.advance():
        trainer.save(tmp_path)
        result = trainer.result()
        fresh = world.base.reset()
        load_weights(fresh, best_weights(tmp_path))
        assert evaluate(fresh, world.data, world.data.splits.val) == result.best.metrics
    assert result.best.stage == "all", "the case is no case"


def test_a_full_disk_is_told_and_leaves_the_checkpoint_before(tiny, tmp_path, monkeypatch):
    world, recipe = tiny.world(), tiny.recipe([HEAD, TOP])
    trainer = world.trainer(recipe)
    trainer.advance()
    trainer.save(tmp_path)
    trainer.advance()

    def full(_descriptor, _parts):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("autoft.training.tensor_file.os.writev", full)
    with pytest.raises(StorageError, match="No space left"):
        trainer.save(tmp_path)
    monkeypatch.undo()
    resumed = world.trainer(recipe)
    assert resumed.restore(tmp_path)
    assert len(resumed.curve) == 1
