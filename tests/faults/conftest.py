"""Small images for a command line that is killed, interrupted and refused."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import command


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """240 generated images of 32 pixels in three classes, as an .npz file."""
    rng = np.random.default_rng(0)
    labels = np.arange(240) % 3
    images = rng.integers(0, 120, (240, 32, 32, 3))
    for image, label in zip(images, labels, strict=True):
        image[10 * label : 10 * label + 10] += 90
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


@pytest.fixture
def search_command(pictures, tmp_path):
    """A search that takes some twenty seconds; more arguments can be given."""
    return lambda *more: command(
        "search",
        "--model=test_resnet.r160_in1k",
        f"--data={pictures}",
        "--num-samples=8",
        "--name=run",
        f"--storage-path={tmp_path}",
        "--set=model.weights=random",
        "--set=data.image_size=32",
        "--set=search.scheduler=none",
        "--set=prune=off",
        "--set=confirm=off",
        *more,
    )


@pytest.fixture
def started():
    """Starts commands in sessions of their own, and ends what is left of them."""
    processes = []

    def start(arguments, **more):
        process = subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parent,
            **more,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
