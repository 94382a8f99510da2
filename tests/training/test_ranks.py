import time

import numpy as np
import pytest
from rank_runs import failing, kept_average, losses, poisoned, read_items, resumed, together, unfinished

from autoft.training.ranks import Ranks

SGD = {"opt": "sgd", "eval_every_steps": 1}
TUNE = {"name": "tune", "unfreeze": 2, "norm": "eval"}
MIX = {"mixup": 0.4, "mixup_at": "boundary"}


def _settings(**more):
    return {"optimisation": {**SGD, **more.pop("optimisation", {})}, **more}


def _close(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-5, abs=0)


ALL_DEPTHS = [
    {"name": "head", "steps": 20},
    {**TUNE, "steps": 20},
    {**TUNE, "name": "full", "unfreeze": "all", "steps": 20},
]


@pytest.fixture(scope="module")
def staged():
    (curve,) = together(1, losses, ALL_DEPTHS, _settings())
    return curve


@pytest.mark.parametrize("world", [2, 4])
def test_many_ranks_train_as_one_process_does(staged, world):
    """20 items in batches of 8: the last one has four, which is one a rank."""
    curve, *others = together(world, losses, ALL_DEPTHS, _settings())
    assert len(curve) == 60
    _close(curve, staged)
    assert others == [[]] * (world - 1)


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"optimisation": {"ema_decay": 0.8}}, id="averaged weights"),
        pytest.param({"augment": "strong", "optimisation": {"mixup": 0.4}}, id="strongly augmented, pixels mixed"),
        pytest.param({"augment": "flip", "optimisation": MIX}, id="flips, activations mixed"),
        pytest.param({"train": 18, "augment": "light", "optimisation": MIX}, id="a last batch of two, light, mixed"),
        pytest.param({"optimisation": {"micro_batch": 2}}, id="accumulated gradients"),
        pytest.param({"optimisation": {"label_smoothing": 0.1, "opt": "sgd", "clip_grad": 0.1}}, id="clipped"),
    ],
)
def test_three_ranks_train_as_one_process_does_whatever_the_recipe_says(settings):
    stages = [{**TUNE, "steps": 5}]
    (expected,) = together(1, losses, stages, _settings(**settings))
    curve, *_ = together(3, losses, stages, _settings(**settings))
    _close(curve, expected)


def test_the_average_that_two_ranks_keep_beside_the_weights_is_that_of_one_process(tmp_path):
    stages, settings = [{**TUNE, "steps": 5}], _settings(beside=0.8)
    (expected,) = together(1, kept_average, stages, settings, str(tmp_path / "one"))
    found, other = together(2, kept_average, stages, settings, str(tmp_path / "two"))
    assert expected.keys() == found.keys() != set()
    assert all(np.allclose(found[name], expected[name], rtol=1e-4, atol=1e-7) for name in expected)
    assert other is None


def test_accumulated_gradients_are_those_of_the_whole_batch():
    stages = [{**TUNE, "steps": 5}]
    (whole,), (parts,) = (together(1, losses, stages, _settings(**more)) for more in ({}, {"micro_batch": 3}))
    _close(parts, whole)


def test_no_item_is_dropped_or_counted_twice():
    stages = [{**TUNE, "epochs": 1}]
    (alone,) = together(1, read_items, stages, _settings(train=18))
    ranks = together(4, read_items, stages, _settings(train=18))
    for place, (epoch, step, targets) in enumerate(alone[0]):
        assert [item for rank in ranks for item in rank[0][place][2]] == targets
        assert all(rank[0][place][:2] == (epoch, step) for rank in ranks)
    for place, items in enumerate(alone[1]):
        assert [item for rank in ranks for item in rank[1][place]] == items


def test_all_ranks_hold_the_same_weights_when_the_training_rests():
    first, *others = together(2, unfinished, [{**TUNE, "norm": "train", "epochs": 3}], _settings(), 4)
    for other in others:
        assert all(np.array_equal(first[name], other[name]) for name in first)


def test_a_trial_taken_up_again_goes_on_bit_for_bit(tmp_path):
    stages = [{"name": "head", "steps": 1}, {**TUNE, "norm": "train", "steps": 6}]
    settings = {"optimisation": {**SGD, "ema_decay": 0.9, "opt": "adamw"}}
    expected, _ = together(2, losses, stages, settings)
    found, _ = together(2, resumed, stages, settings, str(tmp_path))
    assert found == expected


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_without_numbers_ends_the_trial_on_all_ranks(rank):
    told = together(2, poisoned, [{**TUNE, "unfreeze": "all", "epochs": 3}], _settings(), rank)
    (diverged, ended), (_, other) = told
    assert len(diverged) == 1
    assert "gradient" in diverged[0]
    assert abs(ended - other) < 1.0


@pytest.mark.parametrize("how", ["dies", "raises"])
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_fails_is_an_error_on_the_others_not_a_wait(rank, how):
    started = time.monotonic()
    found = together(3, failing, [{**TUNE, "epochs": 3}], _settings(), rank, how, patience_s=60.0)
    own = found.pop(rank)
    assert own == (None if how == "dies" else ("ValueError", False))
    assert [lost for _, lost in found] == [True, True]
    assert time.monotonic() - started < 60.0


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8])
@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_shares_are_all_items_each_once(count, world):
    shares = [Ranks(rank, world).share(count) for rank in range(world)]
    items = [place for share in shares for place in range(share.first, share.first + share.size)]
    assert items == list(range(count))
    assert {share.smallest for share in shares} == {min(share.size for share in shares)}
    assert max(share.size for share in shares) - min(share.size for share in shares) <= 1
