"""``autoft compare`` in a shell: by default on the test items that runs of the same data have in common."""

import json
import shutil

import pytest

import autoft
from autoft.errors import DataError


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A search that ran to its end."""
    quick = {"model.weights": "random", "data.image_size": 32, "confirm": "off", "search.forgetting": "off"}
    folder = tmp_path_factory.mktemp("runs")
    return autoft.search("test_vit", photos, num_samples=1, name="a", storage_path=folder, overrides=quick).path


@pytest.fixture(scope="module")
def trained(run, photos, tmp_path_factory):
    """What ``autoft train --out`` writes of its recipe, for one epoch only."""
    recipe = autoft.Recipe.load(run / "best_recipe.yaml").override(
        {"stages.head.fit": "steps", "stages.head.epochs": 1}
    )
    folder = tmp_path_factory.mktemp("trained")
    autoft.fine_tune(recipe, photos, device="cpu", reuse=False).save(folder)
    return folder


@pytest.fixture(scope="module")
def runs(run, trained):
    """The folder of that run, of one with another model, and of one with another split."""
    for name in "bc":
        shutil.copytree(run, run.with_name(name))
    shutil.copy(trained / "model.safetensors", run.with_name("b") / "best_model.safetensors")
    split = json.loads((run / "split.json").read_text())
    run.with_name("c").joinpath("split.json").write_text(
        json.dumps({**split, "val": split["test"], "test": split["val"]})
    )
    return run.parent


def test_a_model_of_no_run_is_measured_on_the_runs_test_items(told, runs, trained):
    captured = told("compare", runs / "a", trained, "--json")
    assert {row["model"] for row in json.loads(captured.out)["models"]} == {str(runs / "a"), str(trained)}
    assert f"{trained}: is of no run; whether it has seen these items is not known" in captured.err


def test_the_same_model_is_not_behind_whether_it_is_of_a_run_or_not(runs, trained):
    told = autoft.compare([runs / "b", trained], device="cpu")
    assert told.rows[0].metrics == told.rows[1].metrics
    assert (told.rows[1].behind.difference, told.rows[1].behind.real) == (0.0, False)


def test_a_run_without_test_items_says_what_else_to_give(run):
    shutil.copytree(run, run.with_name("d"))
    split = json.loads((run / "split.json").read_text())
    run.with_name("d").joinpath("split.json").write_text(
        json.dumps({**split, "train": split["train"] + split["test"], "test": []})
    )
    with pytest.raises(DataError, match=r"has no items in test; it has train, val; or give items that no model has"):
        autoft.compare([run, run.with_name("d")], device="cpu")


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


def test_a_scorer_of_scikit_learn_orders_them_and_is_measured_of_a_run_that_it_decided(printed, runs, other_photos):
    told = json.loads(printed("compare", runs / "a", runs / "b", "--json", "--metric", "matthews_corrcoef"))
    values = [row["metrics"]["matthews_corrcoef"] for row in told["models"]]
    assert (told["metric"], told["scored_by"]) == ("matthews_corrcoef", "loss")
    assert values == sorted(values, reverse=True)
    shutil.copytree(runs / "a", runs / "e")
    split = json.loads((runs / "e/split.json").read_text())
    split["identity"]["metric"] = "matthews_corrcoef"
    (runs / "e/split.json").write_text(json.dumps(split))
    found = autoft.Predictor.load(runs / "e", device="cpu").evaluate(other_photos)
    assert found.metrics.keys() - autoft.Predictor.load(runs / "a", device="cpu").evaluate(other_photos).metrics == {
        "matthews_corrcoef"
    }


def test_splits_that_differ_are_told_and_items_that_are_given_do_for_all(printed, runs, other_photos):
    with pytest.raises(DataError, match=r"do not mean the same items: .* give --data with items that neither has seen"):
        autoft.compare([runs / "a", runs / "c"], device="cpu")
    told = json.loads(printed("compare", runs / "a", runs / "c", "--data", other_photos, "--json"))
    assert told["items"] == 40
