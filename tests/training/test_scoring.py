"""Weights are scored with the bits that the whole model gives, and without the prefix where its activations lie."""

import pytest
import torch
from freezing_models import SIZES, base
from reuse_runs import data_of, keeping, recipe_of, run, small

from autoft.training import ForgettingMeter, Scorer, fit, load_weights, predict


def trained(name, data, cache, memory_format="contiguous"):
    """What a trial changed that has left its activations."""
    recipe = recipe_of(optimisation={"memory_format": memory_format})
    return dict(run(recipe, base(name).reset(), data, cache).changed)


def from_pixels(name, data, weights, items, memory_format):
    loaded = base(name).reset()
    load_weights(loaded, weights)
    return predict(loaded, data, items, memory_format=memory_format)


@pytest.mark.parametrize(
    ("name", "layout"),
    [
        ("hand-written", "contiguous"),
        ("mobilenetv3_small_100", "channels_last"),
        ("vit_tiny_patch16_224", "contiguous"),
    ],
)
def test_scores_from_the_cache_are_those_of_the_whole_model_bit_for_bit(tmp_path, name, layout):
    data = data_of(SIZES.get(name, 16), train=15)
    weights = trained(name, data, keeping(tmp_path, data)[0], layout)
    head = {key: weights[key] * 1.5 for key in base(name).groups[-1].parameters}
    for items in (data.splits.test, data.splits.val):
        expected = [from_pixels(name, data, each, items, layout) for each in (weights, head)]
        scorer = Scorer(base(name).reset(), data, layout, keeping(tmp_path, data)[0])
        read = data.items.reads
        for each, outputs in zip((weights, head, weights), (*expected, expected[0]), strict=True):
            assert torch.equal(scorer.outputs(each, items), outputs)
        assert data.items.reads == read + 2 * len(data), "the items are read for two probes alone"


@pytest.mark.parametrize(
    ("name", "layout"), [("mobilenetv3_small_100", "channels_last"), ("hand-written", "contiguous")]
)
def test_what_is_forgotten_is_the_same_from_the_cache_and_the_frozen_prefix_is_not_run(tmp_path, name, layout):
    data = data_of(SIZES.get(name, 16), train=15)
    weights = trained(name, data, keeping(tmp_path, data)[0], layout)
    head = {key: weights[key] * 1.5 for key in base(name).groups[-1].parameters}
    pixels, cached = (Scorer(base(name).reset(), data, layout, cache) for cache in (None, keeping(tmp_path, data)[0]))
    assert torch.equal(cached.features(weights, data.splits.val), pixels.features(weights, data.splits.val))
    read = data.items.reads
    meters = ForgettingMeter(pixels), ForgettingMeter(cached)
    found = [[meter.measure(each).plain() for each in (weights, head)] for meter in meters]
    assert found[0] == found[1]
    assert found[0][0]["drift"] > 0.0
    assert data.items.reads == read + 2 * len(data.splits.val) + len(data), "by pixels twice, and one probe"


def test_the_test_split_of_a_fit_is_scored_from_the_activations_that_it_trained_with(tmp_path):
    recipe, data = small()
    expected = fit(recipe, base("hand-written").reset(), data, data.task.objective(None), test=True).test
    reads = []
    for asked in (False, True):
        cache, _ = keeping(tmp_path / str(asked), data)
        before = data.items.reads
        found = fit(recipe, base("hand-written").reset(), data, data.task.objective(None), test=asked, cache=cache)
        assert found.test == (expected if asked else None)
        reads.append(data.items.reads - before)
    assert reads[0] == reads[1]


@pytest.mark.parametrize("place", [0, 1], ids=["everything moved", "activations that nobody has left"])
def test_what_does_not_lie_there_is_computed_and_not_built(tmp_path, place):
    _, data = small()
    loaded = base("hand-written").reset()
    weights = {key: tensor * 1.1 for key, tensor in loaded.module.named_parameters() if key in _of(loaded, place)}
    expected = from_pixels("hand-written", data, weights, data.splits.test, "contiguous")
    scorer = Scorer(loaded, data, cache=keeping(tmp_path, data)[0])
    assert torch.equal(scorer.outputs(weights, data.splits.test), expected)
    assert scorer.metrics(weights, data.splits.test) == data.task.metrics(expected, data.targets[data.splits.test])
    assert list(tmp_path.glob("activations-*")) == []


def _of(loaded, place):
    return {name for group in loaded.groups[place:] for name in group.parameters}
