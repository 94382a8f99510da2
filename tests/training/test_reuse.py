"""Training and evaluation from cached activations: the same bits as from pixels."""

import pytest
import torch
from freezing_models import NAMES, SIZES, base
from reuse_runs import assert_equal_bits, data_of, keeping, recipe_of, run, seen, small, weights

from autoft.training import StagedTrainer

WAYS = [
    pytest.param(1, 3, "none", id="batches of 1"),
    pytest.param(7, 15, "flip", id="batches of 7 and a last one of 1, flips"),
    pytest.param(32, 33, "none", id="a batch of 32 and a last one of 1"),
]


@pytest.mark.parametrize(("batch_size", "train", "augment"), WAYS)
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if "swin" in name else []) for name in NAMES]
)
def test_training_and_evaluation_are_bitwise_equal_with_and_without_cache(tmp_path, name, batch_size, train, augment):
    data = data_of(SIZES.get(name, 16), train=train)
    recipe = recipe_of(batch_size=batch_size, augment=augment)
    loaded = base(name).reset(drop_rate=0.2)
    plain = run(recipe, loaded, data)
    expected = weights(loaded)
    cache, told = keeping(tmp_path, data)
    again = base(name).reset(drop_rate=0.2)
    cached = run(recipe, again, data, cache)
    assert told == []
    assert all(evaluation.reused for evaluation in cached.curve)
    assert all(evaluation.saved_s > 0 for evaluation in cached.curve)
    assert seen(cached) == seen(plain)
    assert_equal_bits(weights(again), expected)


def test_the_pixels_are_read_once_for_all_trials_and_stages(tmp_path):
    recipe, data = small(augment="flip")
    cache, _ = keeping(tmp_path, data)
    run(recipe, base("hand-written").reset(), data, cache)
    before = data.items.reads
    assert before <= 32 + 2 * 64 + len(data)  # the probe, the measurement, one pass
    other = recipe.override({"stages.head.head_lr": 1e-3, "model.drop_rate": 0.3, "seed": 4})
    run(other, base("hand-written").reset(drop_rate=0.3, seed=4), data, cache)
    assert data.items.reads == before


def test_resume_from_the_cache_equals_an_uninterrupted_run_from_pixels(tmp_path):
    recipe, data = small(augment="flip")
    expected = seen(run(recipe, base("hand-written").reset(), data))
    for stop in range(1, len(expected)):
        first = StagedTrainer(
            recipe, base("hand-written").reset(), data, data.task.objective(None), cache=keeping(tmp_path, data)[0]
        )
        for _ in range(stop):
            first.advance()
        first.save(tmp_path / f"checkpoint-{stop}")
        for cache in (keeping(tmp_path, data)[0], None):
            second = StagedTrainer(recipe, base("hand-written").reset(), data, data.task.objective(None), cache=cache)
            assert second.restore(tmp_path / f"checkpoint-{stop}")
            while second.advance():
                pass
            assert seen(second) == expected


@pytest.mark.parametrize(
    "sections",
    [{"augment": "light"}, {"augment": "strong"}, {"optimisation": {"mixup": 0.3}}],
    ids=["light", "strong", "mixup"],
)
def test_what_the_cache_cannot_honour_trains_from_pixels_and_is_still_evaluated_from_it(tmp_path, sections):
    recipe, data = small(**sections)
    plain = run(recipe, base("hand-written").reset(), data)
    cache, told = keeping(tmp_path, data)
    cached = run(recipe, base("hand-written").reset(), data, cache)
    assert seen(cached) == seen(plain)
    assert told == []
    assert all(e.saved_s > 0 for e in cached.curve)


def test_a_model_that_trains_as_a_whole_has_nothing_to_reuse(tmp_path):
    recipe, data = small()
    recipe = recipe.override({"stages.head.unfreeze": "all", "stages.tune.unfreeze": "all"})
    cached = run(recipe, base("hand-written").reset(), data, keeping(tmp_path, data)[0])
    assert {(e.reused, e.saved_s) for e in cached.curve} == {("", 0.0)}
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_computed_each_time_and_told(tmp_path):
    recipe, data = small()
    plain = run(recipe, base("hand-written").reset(), data)
    cache, told = keeping(tmp_path, data, max_bytes=2000)
    cached = run(recipe, base("hand-written").reset(), data, cache)
    assert seen(cached) == seen(plain)
    assert [e.reused != "" for e in cached.curve] == [True, False, False]
    assert len(told) == 1
    assert "do not fit into what is left of the budget" in told[0]
    assert "raise reuse.max_bytes" in told[0]


def test_a_disk_that_is_full_while_building_is_told_and_the_trial_goes_on(tmp_path, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    recipe, data = small()
    plain = run(recipe, base("hand-written").reset(), data)
    for function in ("posix_fallocate", "pwrite"):
        with monkeypatch.context() as patched:
            patched.setattr(f"autoft.shards.writer.os.{function}", full)
            cache, told = keeping(tmp_path / function, data)
            cached = run(recipe, base("hand-written").reset(), data, cache)
        assert seen(cached) == seen(plain)
        assert {e.reused for e in cached.curve} == {""}
        assert len(told) == 2
        assert all("No space left on device" in text for text in told)
        assert not [path for path in (tmp_path / function).iterdir() if path.name != ".locks"]


def test_a_build_ends_when_the_time_is_up_and_leaves_nothing(tmp_path):
    recipe, data = small()
    cache, _ = keeping(tmp_path, data)
    asked = []

    def out_of_time():
        asked.append(True)
        return True

    trainer = StagedTrainer(
        recipe,
        base("hand-written").reset(),
        data,
        data.task.objective(None),
        should_stop=out_of_time,
        cache=cache,
    )
    assert trainer.advance() == ()
    assert len(asked) == 2
    assert not [path for path in tmp_path.iterdir() if path.name != ".locks"]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("free", [0, 2**30], ids=["through pinned memory", "on the device"])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_on_a_gpu_the_cache_gives_what_pixels_give_within_rounding(tmp_path, monkeypatch, free, layout):
    monkeypatch.setattr("autoft.cache.rows.free_bytes", lambda _device: free)
    data = data_of(32, train=15)
    recipe = recipe_of(augment="flip", optimisation={"amp": "off", "memory_format": layout})
    losses = []
    for cache in (None, keeping(tmp_path, data)[0]):
        loaded = base("resnet18").reset()
        trainer = StagedTrainer(recipe, loaded, data, data.task.objective(None), device="cuda", cache=cache)
        while trainer.advance():
            pass
        assert all((evaluation.reused != "") == (cache is not None) for evaluation in trainer.curve)
        losses.append([evaluation.val_loss for evaluation in trainer.curve])
    assert losses[1] == pytest.approx(losses[0], rel=0.05)
