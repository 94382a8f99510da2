"""A model file says how it is used, and the lines for that in README.md and docs/ are right."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open

from autoft.data.inputs import as_inputs
from autoft.recipe import Recipe
from autoft.training import save_model
from autoft.tuner.prepare import lay_ground
from autoft.tuner.usage import usage

ROOT = Path(__file__).parents[2]
PAGES = "\n".join(page.read_text(encoding="utf-8") for page in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md"))))
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGES, re.MULTILINE | re.DOTALL)
(PROGRAM,) = (block for block in BLOCKS if "safe_open" in block)


def ground_of(source, **data):
    model = {"name": "test_vit", "weights": "random"}
    plain = {"model": model, "data": {"image_size": 32, **data}, "stages": [{"name": "head", "epochs": 1}]}
    return lay_ground(Recipe.parse(plain, where="test"), source, notify=lambda _text: None)


def written(ground, path):
    """What the head of the model file says."""
    save_model(ground.loaded.module, path, usage(ground.loaded, ground.data, ground.recipe.data))
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["autoft"])


@pytest.fixture
def photos(tmp_path):
    """Two classes of photos that are no squares."""
    random = np.random.default_rng(0)
    for name in ("cat", "dög"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(5):
            pixels = random.integers(0, 256, (40, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_lines_of_the_pages_give_what_the_search_has_measured(photos, tmp_path, monkeypatch, capsys, resize):
    ground = ground_of(photos, resize=resize)
    (tmp_path / "runs/photos").mkdir(parents=True)
    about = written(ground, tmp_path / "runs/photos/best_model.safetensors")
    monkeypatch.chdir(tmp_path)
    ran = {}
    exec(PROGRAM.replace("1.jpg", "1.png"), ran)
    place = ground.data.names.index("cat/1.png")
    inputs = as_inputs(ground.data.read(np.array([place])), ground.data, ground.loaded.card)
    with torch.no_grad():
        expected = ground.loaded.module(inputs["input"]).softmax(dim=1)[0]
    assert torch.allclose(ran["chances"], expected, atol=2e-3)
    assert about["classes"] == ["cat", "dög"]
    assert capsys.readouterr().out.split()[0] == about["classes"][int(expected.argmax())]


def test_a_regression_says_the_unit_of_its_outputs(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "heights.npz", x=x, y=np.arange(12) * 10.0)
    ground = ground_of(tmp_path / "heights.npz", task="regression")
    about = written(ground, tmp_path / "model.safetensors")
    task = ground.data.task
    assert (about["target_mean"], about["target_std"]) == (task.target_mean, task.target_std)
    assert about["arguments"] == {"num_classes": 1, "img_size": 32}
    assert "classes" not in about
