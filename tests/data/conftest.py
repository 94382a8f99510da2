"""Small images on disk, and a store of their own for each test."""

import numpy as np
import pytest
from PIL import Image

from autoft.data import open_data
from autoft.recipe import DataConfig
from autoft.shards import ShardStore


def draw(seed, size=(12, 9)):
    """A small noisy image, different for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture
def make_folder(tmp_path):
    """Writes an image folder: ``{"cat": 5, "train/dog": 3}`` images per class folder."""

    def make(counts, name="photos", suffix="png"):
        seed = 0
        root = tmp_path / name
        root.mkdir()
        for folder, count in counts.items():
            (root / folder).mkdir(parents=True)
            for number in range(count):
                seed += 1
                draw(seed).save(root / folder / f"{number:03}.{suffix}")
        return root

    return make


@pytest.fixture
def store(tmp_path):
    return ShardStore(tmp_path / "cache", 10**8)


@pytest.fixture
def open_it(store):
    """Opens data with settings that suit small tests."""

    def open_(source, *, seed=0, store=store, notify=lambda sentence: None, **config):
        return open_data(source, DataConfig(**{"image_size": 16, **config}), seed=seed, store=store, notify=notify)

    return open_
