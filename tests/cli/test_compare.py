"""``autoft compare`` in a shell: by default on the test items that runs of the same data have in common."""

import json

import pytest

import autoft
from autoft.errors import DataError


@pytest.fixture(scope="module")
def runs(photos, tmp_path_factory):
    """Two runs of the same data and split, and one whose split was drawn by another seed."""
    folder = tmp_path_factory.mktemp("runs")
    quick = {"model.weights": "random", "data.image_size": 32, "confirm": "off", "search.forgetting": "off"}
    for name, more in {"a": {}, "b": {"search.seed": 1}, "c": {"data.split_seed": 7}}.items():
        autoft.search(
            "test_vit",
            photos,
            num_samples=1,
            name=name,
            storage_path=folder,
            overrides={**quick, "data.split_seed": 0, **more},
        )
    return folder


@pytest.fixture(scope="module")
def trained(runs, photos, tmp_path_factory):
    """What ``autoft train --out`` writes of the first run's recipe."""
    folder = tmp_path_factory.mktemp("trained")
    autoft.fine_tune(autoft.Recipe.load(runs / "a/best_recipe.yaml"), photos, device="cpu", reuse=False).save(folder)
    return folder


def test_a_model_of_no_run_is_measured_on_the_runs_test_items(told, runs, trained):
    captured = told("compare", runs / "a", trained, "--json")
    best, other = json.loads(captured.out)["models"]
    assert best["metrics"] == other["metrics"]
    assert f"{trained}: is of no run; whether it has seen these items is not known" in captured.err


def test_two_runs_are_compared_on_their_test_items(printed, runs):
    lines = printed("compare", runs / "a", runs / "b").splitlines()
    assert lines[0].split() == ["model", "accuracy", "95%", "behind", "95%"]
    assert {line.split()[0] for line in lines[1:3]} == {str(runs / "a"), str(runs / "b")}
    assert lines[3].split()[0] == lines[1].split()[0]


def test_json_has_all_metrics_and_the_difference(printed, runs):
    told = json.loads(printed("compare", runs / "a", runs / "b", "--json", "--metric", "macro_f1"))
    assert [*told] == ["metric", "scored_by", "items", "models"]
    assert (told["metric"], told["scored_by"]) == ("macro_f1", "loss")
    best, other = told["models"]
    assert best["behind"] is None
    assert [*other["behind"]] == ["difference", "standard_error", "interval", "real"]
    summary = json.loads((runs / "a/summary.json").read_text())
    mine = next(row for row in told["models"] if row["model"] == str(runs / "a"))
    assert mine["metrics"] == pytest.approx(summary["test"])


def test_splits_that_differ_are_told_and_items_that_are_given_do_for_all(printed, runs, other_photos):
    with pytest.raises(DataError, match=r"do not mean the same items: .* give --data with items that neither has seen"):
        autoft.compare([runs / "a", runs / "c"], device="cpu")
    told = json.loads(printed("compare", runs / "a", runs / "c", "--data", other_photos, "--json"))
    assert told["items"] == 40
