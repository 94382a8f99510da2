"""Small images for a command line that is killed, interrupted and refused."""

import os
import subprocess
from pathlib import Path

import pytest
from commands import command
from pictures import write_pictures


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """240 generated images of 32 pixels in three classes, as an .npz file."""
    return write_pictures(tmp_path_factory.mktemp("data"))


@pytest.fixture
def search_command(pictures, tmp_path):
    """A search of trials alone, without what comes before and after them; more arguments can be given."""
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
        *(f"--set=search.{part}=off" for part in ("probe", "portfolio", "gains", "forgetting")),
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
