"""``autoft predict`` in a shell: tables on standard output, what is odd on standard error."""

import csv
import io
import json

import pytest

import autoft
from autoft.recipe import Recipe


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    """What ``autoft train --out`` writes."""
    plain = {"model": {"name": "test_vit", "weights": "random"}, "data": {"image_size": 32}}
    recipe = Recipe.parse({**plain, "stages": [{"name": "head", "epochs": 1}]}, where="test")
    folder = tmp_path_factory.mktemp("trained")
    autoft.fine_tune(recipe, photos, device="cpu", reuse=False).save(folder)
    return folder


def test_a_table_of_images_goes_to_standard_output(printed, trained, photos):
    rows = list(csv.DictReader(io.StringIO(printed("predict", trained, photos / "red", photos / "blue/1.png"))))
    assert [*rows[0]] == ["item", "prediction", "probability", "p.blue", "p.red"]
    assert len(rows) == 21
    assert rows[-1]["item"] == str(photos / "blue/1.png")


def test_or_into_a_file_and_as_json_with_what_cannot_be_read(printed, trained, photos, tmp_path):
    (tmp_path / "bad.png").write_text("x")
    out = tmp_path / "found.csv"
    told = json.loads(printed("predict", trained, tmp_path, photos / "red/1.png", "--out", out, "--json"))
    bad, good = told["predictions"]
    assert (bad["prediction"], bad["p.red"]) == (None, None)
    assert good["prediction"] in {"red", "blue"}
    assert len(out.read_text().splitlines()) == 3
