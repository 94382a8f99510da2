"""One Ray for all searches of a module, and what a probe looks at."""

import logging
from dataclasses import replace

import pytest
import ray
import torch
from tiny import TinyNet, tiny_data

from autoft.cache import reuse_of
from autoft.record import Objective
from autoft.tuner.config import resolve_config
from autoft.tuner.prepare import lay_ground, search_space, worker_context


@pytest.fixture(scope="module")
def shared_ray():
    """One Ray for all searches of a module; searches leave it running."""
    ray.init(
        address="local",
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def world():
    """A search of a tiny network in the default space: configuration, ground, space."""
    torch.manual_seed(0)
    config = resolve_config(None, [], {"model.name": "own", "data.test_fraction": 0.0})
    ground = lay_ground(config.base_recipe(), tiny_data(), module=TinyNet(), notify=lambda _text: None)
    return config, ground, search_space(config, ground, None)


@pytest.fixture
def context(world, tmp_path):
    """What its workers are given."""
    _, ground, _ = world
    reuse = replace(reuse_of(always=True), chosen=frozenset({1, 2}), root=tmp_path / "activations")
    folder, objective = tmp_path / "trials", Objective("accuracy", "max")
    return worker_context(ground, objective, folder, threads=1, device="cpu", reuse=reuse, stages=tmp_path / "stages")
