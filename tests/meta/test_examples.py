import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ["--num-samples=1"]
UNHURRIED = "--time-budget-s=540"
"""However busy the machine is."""


@pytest.fixture
def run(tmp_path, tmp_path_factory):
    """Run a program in an empty folder, with ``autoft`` on the path."""
    environment = {
        **os.environ,
        "AUTOFT_CACHE_DIR": str(tmp_path_factory.getbasetemp() / "examples_cache"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*command):
        done = subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_every_example_is_known_here(root):
    assert {path.name for path in (root / "examples").iterdir() if path.is_file()} == {
        "command_line.sh",
        "digits.yaml",
        "own_module.py",
        "search_images.py",
        "tensorboard.py",
    }


@pytest.mark.slow
def test_the_command_line_example_runs(run, root, tmp_path, photos):
    printed = run(
        "sh", root / "examples" / "command_line.sh", photos, *SMALL, "--time-budget=9m", "--set=data.image_size=32"
    )
    assert "exactly the recipe's value" in printed
    assert (tmp_path / "runs" / "example" / "replay" / "model.safetensors").is_file()


@pytest.mark.slow
def test_the_image_example_runs(run, root, photos):
    printed = run(
        sys.executable, root / "examples" / "search_images.py", *SMALL, UNHURRIED, "--data", photos, "--image-size=32"
    )
    assert "exactly the same: True" in printed


@pytest.mark.slow
def test_the_example_with_an_own_module_runs(run, root):
    printed = run(sys.executable, root / "examples" / "own_module.py", "--num-samples=2", UNHURRIED)
    assert "stem" in printed
    assert "predicted class of the first test sequence" in printed


@pytest.mark.slow
def test_the_example_with_tensorboard_writes_a_board_per_trial(run, root, tmp_path, photos):
    example = root / "examples" / "tensorboard.py"
    printed = run(sys.executable, example, *SMALL, UNHURRIED, "--data", photos, "--image-size=32")
    assert "trial 0 won" in printed
    (events,) = (tmp_path / "boards" / "0000").iterdir()
    assert events.name.startswith("events.out.tfevents")
    content = events.read_bytes()
    assert all(name in content for name in (b"accuracy", b"val_loss", b"best", b"baseline:head_only"))
