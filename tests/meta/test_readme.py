"""The commands that README.md shows are run, in order, with a small budget."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from autoft.tuner.tables import HISTORY_COLUMNS, TRIAL_COLUMNS

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def fenced(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in fenced("sh") for line in block.splitlines() if line.strip()]
PLAIN = [f"--set={part}=off" for part in ("confirm", "search.probe", "search.gains", "search.forgetting")]
SMALL = {
    "search": [
        "--num-samples=1",
        "--set=data.image_size=32",
        "--set=stages.head.epochs=1",
        "--set=stages.tune.epochs=1",
        *PLAIN,
    ],
    "plan": ["--set=data.image_size=32"],
    "resume": ["--time-budget=1m"],
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory, photos):
    """A user's folder, as README.md supposes it: photos/ and search.yaml, and the run of make demo."""
    folder = tmp_path_factory.mktemp("readme")
    shutil.copytree(photos, folder / "photos")
    Image.new("RGB", (48, 32)).save(folder / "new.jpg")
    (text,) = (block for block in fenced("yaml") if block.startswith("# search.yaml"))
    (folder / "search.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(workspace, tmp_path_factory):
    environment = {**os.environ, "AUTOFT_CACHE_DIR": str(tmp_path_factory.mktemp("cache"))}

    def run(command):
        return subprocess.run(
            command, cwd=workspace, env=environment, capture_output=True, text=True, check=False, timeout=240
        )

    return run


def shortened(command):
    """The command as it is run here: this interpreter's autoft, and a small budget."""
    name, verb, *options = shlex.split(command)
    assert Path(name).name == "autoft"
    return [sys.executable, "-m", "autoft", verb, *options, *SMALL.get(verb, [])]


def test_the_readme_shows_all_verbs():
    shown = {shlex.split(command)[1] for command in COMMANDS}
    assert {"plan", "search", "resume", "best", "train", "groups"} <= shown


def demo_command(root):
    """What `make demo` runs."""
    made = subprocess.run(["make", "--dry-run", "demo"], cwd=root, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in made.splitlines() if "autoft search --config" in line)
    return line.replace("examples/", f"{root}/examples/")


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command, run, root):
    done = run(shortened(demo_command(root) if command == "make demo" else command))
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.slow
def test_the_search_of_the_readme_runs_from_python(run, workspace):
    (program,) = (block for block in fenced("python") if "autoft.search(" in block)
    program = program.replace(
        "num_samples=24",
        f"num_samples=1, overrides={['data.image_size=32', *(each.removeprefix('--set=') for each in PLAIN)]}",
    )
    assert "num_samples=1" in program
    (workspace / "readme.py").write_text(
        f"if __name__ == '__main__':\n{re.sub('^', '    ', program, flags=re.MULTILINE)}"
    )
    done = run([sys.executable, "readme.py"])
    assert done.returncode == 0, done.stderr
    assert (workspace / "best.yaml").is_file()


def test_what_the_readme_links_to_is_there(root):
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_the_readme_names_every_shipped_search_space(root):
    names = {path.stem for path in (root / "search_spaces").glob("*.yaml")}
    assert {name for name in names if f"`{name}`" not in README} == set()


def test_the_readme_names_the_columns_of_the_tables():
    assert f"`{', '.join(TRIAL_COLUMNS)}`" in README
    assert f"`{', '.join(HISTORY_COLUMNS)}`" in README
