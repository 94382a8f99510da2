"""Views and mixing at the boundary: augmentation that the cache can honour, bit for bit."""

import gc

import numpy as np
import pytest
import torch
from freezing_models import SIZES, base
from reuse_runs import assert_equal_bits, data_of, keeping, recipe_of, run, seen, small, weights

from autoft.data.variants import MIRRORED, PLAIN, Variant, draw_variants, drawn, variants_of
from autoft.errors import ConfigError
from autoft.recipe import DataConfig
from autoft.shards import ShardStore, entries
from autoft.streams import stream
from autoft.training.source import can_train_from_cache

IMAGES = torch.randint(0, 256, (9, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
MIX = {"optimisation": {"mixup": 0.4, "mixup_at": "boundary"}}


def viewing(recipe, augment, views):
    return recipe.override({"data.augment": augment, "data.views": views})


def assert_cached_is_uncached(tmp_path, name, recipe, data):
    plain = run(recipe, base(name).reset(), data)
    cache, told = keeping(tmp_path, data)
    cached = run(recipe, base(name).reset(), data, cache)
    assert told == []
    assert all(evaluation.reused and evaluation.saved_s > 0 for evaluation in cached.curve)
    assert seen(cached) == seen(plain)
    assert_equal_bits(weights(cached._loaded), weights(plain._loaded))


@pytest.mark.parametrize("kind", ["light", "strong"])
def test_a_view_is_a_function_of_seed_item_and_number_alone(kind):
    items = np.arange(100, 109)
    whole = Variant(kind, 3, 7).of({"input": IMAGES}, items)["input"]
    order = np.random.default_rng(0).permutation(9)
    for size in (1, 4, 9):
        part = Variant(kind, 3, 7).of({"input": IMAGES[order[:size]]}, items[order[:size]])["input"]
        assert torch.equal(part, whole[order[:size]])
    others = [Variant(kind, 2, 7), Variant(kind, 3, 8), Variant("strong" if kind == "light" else "light", 3, 7)]
    assert all(not torch.equal(other.of({"input": IMAGES}, items)["input"], whole) for other in others)
    assert not torch.equal(Variant(kind, 3, 7).of({"input": IMAGES}, items + 1)["input"], whole)


def test_a_batch_takes_of_each_item_the_variant_that_was_drawn():
    variants = (PLAIN, MIRRORED, Variant("light", 0, 1))
    items, choice = np.arange(9), np.arange(9) % 3
    found = drawn({"input": IMAGES}, items, variants, choice)["input"]
    for row, number in enumerate(choice):
        own = variants[number].of({"input": IMAGES[row : row + 1]}, items[row : row + 1])["input"]
        assert torch.equal(found[row : row + 1], own)


def test_every_view_is_drawn_about_as_often():
    variants = variants_of(DataConfig(augment="light", views=4), 0)
    assert variants == tuple(Variant("light", view, 0) for view in range(4))
    assert (np.bincount(draw_variants(variants, 4000, stream(0, "view"))) > 900).all()
    assert variants_of(DataConfig(augment="light"), 0) is None


@pytest.mark.parametrize("augment", ["none", "flip"])
def test_views_of_what_has_one_or_two_outcomes_are_refused(augment):
    with pytest.raises(ConfigError, match=rf"views: 3 needs augment: light or strong, got augment: {augment}.*leave"):
        recipe_of(augment=augment).override({"data.views": 3})


@pytest.mark.parametrize(
    ("name", "batch_size", "train", "augment", "views"),
    [
        pytest.param("hand-written", 1, 3, "light", 2, id="batches of 1"),
        pytest.param("hand-written", 7, 15, "strong", 3, id="batches of 7 and a last one of 1"),
        pytest.param("hand-written", 32, 33, "light", 1, id="a batch of 32 and a last one of 1, one view"),
        pytest.param("mobilenetv3_small_100", 7, 15, "light", 2, id="mobilenetv3"),
        pytest.param("convnext_atto", 32, 33, "strong", 2, id="convnext"),
    ],
)
def test_with_views_training_is_bitwise_equal_with_and_without_cache(tmp_path, name, batch_size, train, augment, views):
    recipe = viewing(recipe_of(batch_size=batch_size), augment, views)
    assert_cached_is_uncached(tmp_path, name, recipe, data_of(SIZES.get(name, 16), train=train))


def test_all_views_are_built_in_one_pass_and_those_there_are_found_by_another_number_of_them(tmp_path):
    recipe, data = small()
    two, three = viewing(recipe, "light", 2), viewing(recipe, "light", 3)
    run(two, base("hand-written").reset(), data, keeping(tmp_path, data)[0])
    names = {path.name for path in tmp_path.glob("activations-*")}
    assert len(names) == 2 * 3, "two boundaries, plain and two views each"
    assert data.items.reads <= 22 + 2 * 22 + 22  # the probe, the measurement, one pass
    run(three, base("hand-written").reset(), data, keeping(tmp_path, data)[0])
    more = {path.name for path in tmp_path.glob("activations-*")}
    assert names < more
    assert len(more) == 2 * 4


@pytest.mark.parametrize("change", [{"seed": 5}, {"data.augment": "strong"}], ids=["seed", "augment"])
def test_views_of_another_seed_or_kind_are_other_entries(tmp_path, change):
    recipe, data = small()
    recipe = viewing(recipe, "light", 2)
    for each in (recipe, recipe.override(change)):
        run(each, base("hand-written").reset(seed=each.seed), data, keeping(tmp_path, data)[0])
    assert len(list(tmp_path.glob("activations-*"))) == 2 * (1 + 2 + 2)


def test_views_of_a_seed_that_no_trial_has_any_more_can_be_evicted(tmp_path):
    recipe, data = small()
    recipe = viewing(recipe, "light", 2)
    cache, told = keeping(tmp_path, data)
    store = ShardStore(tmp_path, 2**30)
    for seed in (0, 1):
        run(recipe.override({"seed": seed}), base("hand-written").reset(seed=seed), data, cache)
    gc.collect()
    assert told == []
    assert [entry.in_use for entry in entries(store)].count(False) == 2 * 2
    assert len(entries(store)) == 2 * (1 + 2 + 2)


@pytest.mark.parametrize("name", ["hand-written", "mobilenetv3_small_100", "vit_tiny_patch16_224"])
def test_mixed_at_the_boundary_training_is_bitwise_equal_with_and_without_cache(tmp_path, name):
    data = data_of(SIZES.get(name, 16), train=15)
    assert_cached_is_uncached(tmp_path, name, recipe_of(augment="flip", **MIX), data)


def test_views_mixing_rounding_and_layout_go_together(tmp_path):
    together = {**MIX["optimisation"], "boundary_dtype": "float16", "memory_format": "channels_last"}
    recipe = viewing(recipe_of(optimisation=together), "light", 2)
    assert_cached_is_uncached(tmp_path, "mobilenetv3_small_100", recipe, data_of(32, train=15))


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_where_all_groups_train_the_boundary_is_the_input(layout):
    recipe = recipe_of(optimisation={**MIX["optimisation"], "memory_format": layout})
    recipe = recipe.override({"stages.head.unfreeze": "all", "stages.tune.unfreeze": "all"})
    at_input = recipe.override({"optimisation.mixup_at": "input"})
    first, second = (
        run(each, base("mobilenetv3_small_100").reset(), data_of(32, train=9)) for each in (recipe, at_input)
    )
    assert seen(first) == seen(second)
    assert_equal_bits(weights(first._loaded), weights(second._loaded))


def test_where_there_is_a_prefix_mixing_pixels_and_mixing_activations_differ():
    recipe, data = small(**MIX)
    at_input = recipe.override({"optimisation.mixup_at": "input"})
    first, second = (run(each, base("hand-written").reset(), data) for each in (recipe, at_input))
    assert seen(first) != seen(second)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"data.augment": "flip"}, True),
        ({"data.augment": "light"}, False),
        ({"data.augment": "light", "data.views": 2}, True),
        ({"optimisation.mixup": 0.2}, False),
        ({"optimisation.mixup": 0.2, "optimisation.mixup_at": "boundary"}, True),
        ({"data.augment": "strong", "optimisation.mixup": 0.2, "optimisation.mixup_at": "boundary"}, False),
    ],
)
def test_what_can_train_from_the_cache(changes, expected):
    assert can_train_from_cache(recipe_of().override(changes)) == expected
