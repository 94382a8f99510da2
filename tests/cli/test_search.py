"""The verbs around one small search, each as a process of its own."""

import json
import os
import signal
import subprocess
import sys

import pytest

from autoft.recipe import Recipe, yaml

pytestmark = pytest.mark.slow

SMALL = (
    "--model=mobilenetv3_small_050",
    "--set=model.weights=random",
    "--set=data.image_size=32",
    "--set=resources.max_concurrent_trials=2",
    "--set=data.batch_size=8",
    "--set=confirm=off",
    *(f"--set=search.{part}=off" for part in ("probe", "portfolio", "gains")),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def searched(autoft, photos, runs):
    """A search of the three baselines and one drawn recipe."""
    return autoft(
        "search",
        *SMALL,
        "--data",
        photos,
        "--num-samples=4",
        "--name=first",
        "--storage-path",
        runs,
        "--json",
        "--set=search.objectives=[accuracy,cost,parameters]",
    )


@pytest.fixture(scope="module")
def run(searched, runs):
    assert searched.returncode == 0, searched.stderr
    return runs / "first"


def test_with_json_standard_output_is_the_summary_and_nothing_else(searched, run):
    (line,) = searched.stdout.splitlines()
    summary = json.loads(line)
    assert summary == json.loads((run / "summary.json").read_text())
    assert sum(summary["trials"].values()) == 4
    assert len(summary["baselines"]) == 3


def test_without_a_terminal_progress_is_lines_on_standard_error(searched):
    lines = searched.stderr.splitlines()
    assert any(line.startswith("trial 0 started: ") for line in lines)
    assert any("[4/4]" in line for line in lines)


def test_the_wall_clock_begins_with_the_process(run):
    summary = json.loads((run / "summary.json").read_text())
    assert summary["wall_s"] > 1.0


def test_best_prints_the_recipe_and_why_it_won_and_a_pipe_gets_valid_yaml(autoft, run):
    done = autoft("best", run)
    assert done.returncode == 0, done.stderr
    recipe = Recipe.load(run / "best_recipe.yaml")
    assert Recipe.parse(yaml.loads(done.stdout), where="printed") == recipe
    reasons = [line for line in done.stdout.splitlines() if line.startswith("#")]
    summary = json.loads((run / "summary.json").read_text())
    assert any(f"winner: trial {summary['winner']}" in line for line in reasons)
    for name in summary["baselines"]:
        assert any(f"baseline: {name}" in line for line in reasons)
    assert any("retention" in line for line in reasons)


def test_best_as_json_has_recipe_and_summary(printed, run):
    printed = json.loads(printed("best", run, "--json"))
    assert Recipe.parse(printed["recipe"], where="printed") == Recipe.load(run / "best_recipe.yaml")
    assert printed["summary"]["winner"] is not None


def test_best_shows_the_front_of_several_objectives(printed, run):
    shown, front = printed("best", run, "--pareto").splitlines(), json.loads(printed("best", run, "--pareto", "--json"))
    assert shown[0].split() == ["trial", "accuracy", "(max)", "cost", "(min)", "parameters", "(min)"]
    assert [line.split()[0] for line in shown[1:]] == [str(point["trial"]) for point in front["front"]]


def test_train_gives_the_winners_value_again_exactly_and_writes_what_it_made(autoft, run, photos, tmp_path):
    done = autoft("train", run / "best_recipe.yaml", "--data", photos, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    value = Recipe.load(run / "best_recipe.yaml").provenance.value
    assert f"{value!r}, exactly the recipe's value" in done.stdout
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["value"] == value
    assert written["reproduced"] is True
    assert Recipe.load(tmp_path / "out" / "recipe.yaml").provenance.value == value
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 0


def test_train_on_other_data_says_so(autoft, run, other_photos):
    done = autoft("train", run / "best_recipe.yaml", "--data", other_photos, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert "warning: these are not the data that the recipe was found on" in done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["test"] is not None


def test_resume_with_a_larger_budget_goes_on(autoft, run, searched):
    done = autoft("resume", run, "--num-samples=5", "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert sum(summary["trials"].values()) == 5
    assert [line for line in done.stderr.splitlines() if line.startswith("trial 0 started")] == []


@pytest.fixture
def search_in_progress(photos, tmp_path, environment):
    """A search in a session of its own, as a terminal would start it, whose second trial has just begun."""
    options = [*SMALL, f"--data={photos}", "--name=cut", "--num-samples=3"]
    with subprocess.Popen(
        [sys.executable, "-m", "autoft", "search", *options],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        next(line for line in process.stderr if line.startswith("trial 1 started"))
        yield process


def test_ctrl_c_ends_with_130_and_says_how_to_go_on_and_resume_does(search_in_progress, autoft, tmp_path):
    os.killpg(search_in_progress.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
    said = search_in_progress.stderr.read()
    assert search_in_progress.wait(timeout=60) == 130
    assert "error: runs/cut: interrupted" in said
    assert said.count("Traceback") == 0
    assert "autoft resume runs/cut" in said
    done = autoft("resume", "runs/cut", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["trials"].values()) == 3


def test_sigterm_is_like_ctrl_c(search_in_progress):
    search_in_progress.terminate()
    assert "autoft resume runs/cut" in search_in_progress.stderr.read()
    assert search_in_progress.wait(timeout=60) == 130
