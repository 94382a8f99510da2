import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from autoft.cli.edge import guarded
from autoft.cli.main import app


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """The environment of a user with an empty cache."""
    return {
        **os.environ,
        "AUTOFT_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }


@pytest.fixture(scope="session")
def autoft(environment):
    """Run the command line as a process."""

    def run(*arguments, cwd=None):
        command = [sys.executable, "-m", "autoft", *map(str, arguments)]
        return subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=240
        )

    return run


@pytest.fixture
def told(capsys, environment, monkeypatch):
    """What the command line prints, in this process: a start of its own takes longer than most verbs do."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("AUTOFT_CACHE_DIR", environment["AUTOFT_CACHE_DIR"])
    monkeypatch.setenv("COLUMNS", environment["COLUMNS"])

    def run(*arguments):
        assert guarded(lambda: app([*map(str, arguments)], standalone_mode=False)) == 0
        return capsys.readouterr()

    yield run
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def printed(told):
    """Its standard output."""
    return lambda *arguments: told(*arguments).out


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Forty images of 24 px in two classes that differ in colour."""
    return write_photos(tmp_path_factory.mktemp("data") / "photos", seed=0)


@pytest.fixture(scope="session")
def other_photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp("data") / "other", seed=1)


def write_photos(folder, *, seed, per_class=20):
    random = np.random.default_rng(seed)
    for name, channel in (("red", 0), ("blue", 2)):
        (folder / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = random.integers(0, 120, (24, 24, 3))
            pixels[..., channel] += 100
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")
    return folder
