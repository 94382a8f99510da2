"""One Ray for all searches of a module."""

import logging

import pytest
import ray


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
