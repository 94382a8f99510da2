"""A worker on another node: simulated by another cache folder, and by files that are not there."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import TinyNet

from autoft.cache import reuse_of
from autoft.errors import StorageError
from autoft.recipe import Recipe
from autoft.record import Objective
from autoft.tuner.prepare import lay_ground, worker_context
from autoft.tuner.supply import Supply

RECIPE = {"model": "tiny.TinyNet", "stages": [{"name": "head", "epochs": 1}]}


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "points.npz"
    np.savez(path, x=rng.normal(size=(60, 8)).astype(np.float32), y=np.arange(60) % 3)
    return path


@pytest.fixture
def sent(source, tmp_path, monkeypatch):
    """The context of a driver with caches of its own, and the supply that goes with it."""
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "driver"))
    recipe = Recipe.parse(RECIPE, where="test")
    ground = lay_ground(recipe, source, module=TinyNet(), notify=lambda _text: None)
    settings = {"threads": 1, "device": "cpu", "reuse": reuse_of()}
    (tmp_path / "run" / "trials").mkdir(parents=True)
    context = worker_context(ground, Objective("accuracy", "max"), tmp_path / "run" / "trials", **settings)
    config = ground.recipe.data
    return context, Supply.of(source, config, seed=config.split_seed, max_bytes=None)


@pytest.fixture
def another_node(tmp_path, monkeypatch):
    """Its own cache folder."""
    monkeypatch.setenv("AUTOFT_CACHE_DIR", str(tmp_path / "node"))
    return tmp_path / "node"


def rows(data):
    return data.read(np.arange(len(data)))["input"]


def test_a_node_makes_the_data_ready_in_its_own_cache_and_reads_the_same(sent, another_node):
    context, supply = sent
    there = supply.at_home(context)
    assert there.data.items.shards.folder.parent == another_node
    assert there.reuse.root == another_node / "activations"
    assert torch.equal(rows(there.data), rows(context.data))
    assert there.data.splits is context.data.splits


def test_what_is_ready_on_a_node_is_taken_without_the_source(sent, another_node, source):
    context, supply = sent
    supply.at_home(context)
    source.unlink()
    assert supply.at_home(context).data.items.shards.folder.parent == another_node


def test_a_node_that_shares_the_drivers_cache_reads_it(sent):
    context, supply = sent
    assert supply.at_home(context) == context


def test_a_node_without_the_source_reads_the_drivers_cache_if_it_is_to_be_seen(sent, another_node, source):
    context, supply = sent
    source.unlink()
    there = supply.at_home(context)
    assert there.data is context.data
    assert there.reuse.root == another_node / "activations"


def test_a_node_that_finds_neither_says_so(sent, another_node, source):
    context, supply = sent
    source.unlink()
    shards = context.data.items.shards
    gone = replace(context.data.items, shards=type(shards)(shards.folder.parent / "gone"))
    with pytest.raises(StorageError, match=r"cannot be read on node .*does not exist.*AUTOFT_CACHE_DIR, on storage"):
        supply.at_home(replace(context, data=replace(context.data, items=gone)))


def test_other_data_under_the_same_path_are_refused(sent, another_node, source):
    context, supply = sent
    np.savez(source, x=np.ones((60, 8), np.float32), y=np.arange(60) % 3)
    shards = context.data.items.shards
    gone = replace(context.data.items, shards=type(shards)(shards.folder.parent / "gone"))
    with pytest.raises(StorageError, match="there are other data on this node"):
        supply.at_home(replace(context, data=replace(context.data, items=gone)))


def test_a_run_folder_that_is_not_shared_is_told(sent, tmp_path):
    context, supply = sent
    with pytest.raises(StorageError, match=r"elsewhere: the run folder is not to be seen .*--storage-path"):
        supply.at_home(replace(context, trials=tmp_path / "elsewhere" / "trials"))
