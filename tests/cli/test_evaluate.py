"""``autoft evaluate`` in a shell: metrics on standard output, what is odd on standard error."""

import csv
import json
import shutil

import pytest

import autoft
from autoft.recipe import Recipe


@pytest.fixture(scope="module")
def fitted(photos):
    plain = {"model": {"name": "test_vit", "weights": "random"}, "data": {"image_size": 32}}
    recipe = Recipe.parse({**plain, "stages": [{"name": "head", "epochs": 1}]}, where="test")
    return autoft.fine_tune(recipe, photos, device="cpu", reuse=False)


@pytest.fixture(scope="module")
def trained(fitted, tmp_path_factory):
    """What ``autoft train --out`` writes."""
    folder = tmp_path_factory.mktemp("trained")
    fitted.save(folder)
    return folder


def test_metrics_and_classes_are_printed(printed, trained, photos):
    lines = printed("evaluate", trained, photos).splitlines()
    assert lines[0] == "40 items"
    assert lines[1].split()[0] == "accuracy"
    assert lines[1].endswith("95%")
    assert any(line.split()[:2] == ["class", "items"] for line in lines)


def test_what_cannot_be_read_is_told(trained, photos, tmp_path, told):
    shutil.copytree(photos / "red", tmp_path / "red")
    (tmp_path / "red/bad.png").write_text("x")
    captured = told("evaluate", trained, tmp_path)
    assert captured.out.startswith("20 items")
    assert "1 of 21 items cannot be read (red/bad.png): they are left out" in captured.err


def test_json_has_all_and_a_file_each_item(printed, trained, fitted, photos, tmp_path):
    out = tmp_path / "items.csv"
    found = json.loads(printed("evaluate", trained, photos, "--json", "--out", out))
    assert [*found] == ["items", "metrics", "interval", "classes", "lost"]
    assert [row["class"] for row in found["classes"]] == ["blue", "red"]
    rows = list(csv.DictReader(out.read_text().splitlines()))
    right = sum(row["label"] == row["prediction"] for row in rows)
    assert found["metrics"]["accuracy"] == pytest.approx(right / len(rows))
    assert found["metrics"]["accuracy"] == fitted.predictor.evaluate(photos).metrics["accuracy"]
