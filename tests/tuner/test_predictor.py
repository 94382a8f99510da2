"""A fine-tuned model says of new items what the search would have measured."""

import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from tiny import TinyNet, tiny_data

import autoft
from autoft.errors import DataError, ModelError, RunError, WeightsError
from autoft.recipe import Recipe
from autoft.training import predict, save_model
from autoft.tuner.predictor import Predictor
from autoft.tuner.prepare import lay_ground
from autoft.tuner.usage import usage


def ground_of(source, name="test_vit", module=None, **data):
    plain = {
        "model": {"name": name, **({} if module else {"weights": "random"})},
        "data": {"image_size": 32, **data},
        "stages": [{"name": "head", "epochs": 1}],
    }
    return lay_ground(Recipe.parse(plain, where="test"), source, module=module, notify=lambda _text: None)


def written(ground, path):
    save_model(ground.loaded.module, path, usage(ground.loaded, ground.data, ground.recipe.data))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Photos that are no squares, in two classes."""
    folder = tmp_path_factory.mktemp("data") / "photos"
    random = np.random.default_rng(0)
    for name in ("cat", "dög"):
        (folder / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(random.integers(0, 256, (40, 80, 3), dtype=np.uint8)).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def model(photos, tmp_path_factory):
    return written(ground_of(photos), tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_a_folder_is_predicted_with_the_bits_of_the_search(photos, tmp_path, resize):
    ground = ground_of(photos, resize=resize)
    table = Predictor.load(written(ground, tmp_path / "model.safetensors"), device="cpu").predict(photos)
    chances = ground.data.task.predict(predict(ground.loaded, ground.data, np.arange(10))).numpy()
    assert table["item"].tolist() == [str(photos / name) for name in ground.data.names]
    assert (table[["p.cat", "p.dög"]].to_numpy() == chances).all()
    assert table["prediction"].tolist() == [("cat", "dög")[place] for place in chances.argmax(axis=1)]
    assert table["probability"].tolist() == chances.max(axis=1).tolist()


def test_files_opened_images_and_arrays_are_the_same(photos, model):
    predictor = Predictor.load(model)
    path = photos / "cat/1.png"
    with Image.open(path) as image:
        tables = [predictor.predict(one) for one in (path, [str(path)], image, [np.asarray(image)])]
    (first, *others) = [table.drop(columns="item") for table in tables]
    for other in others:
        pd.testing.assert_frame_equal(first, other)


def test_an_image_that_cannot_be_read_has_a_row_without_a_prediction(photos, model, tmp_path):
    (tmp_path / "bad.jpg").write_text("x")
    table = Predictor.load(model).predict([tmp_path / "bad.jpg", photos / "cat/1.png"])
    assert table["prediction"].isna().tolist() == [True, False]
    assert table["p.cat"].isna().tolist() == [True, False]


def test_several_labels_and_numbers_come_in_their_own_form(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (12, 32, 32), dtype=np.uint8)
    np.savez(tmp_path / "many.npz", x=x, y=np.random.default_rng(1).integers(0, 2, (12, 3)))
    np.savez(tmp_path / "heights.npz", x=x, y=np.arange(12) * 10.0)
    many = ground_of(tmp_path / "many.npz", task="multi_label")
    table = Predictor.load(written(many, tmp_path / "many.safetensors")).predict(list(x))
    chances = table[[f"p.{name}" for name in many.data.task.classes]].to_numpy()
    expected = [";".join(np.array(many.data.task.classes)[row >= 0.5]) for row in chances]
    assert table["prediction"].tolist() == expected
    heights = ground_of(tmp_path / "heights.npz", task="regression")
    table = Predictor.load(written(heights, tmp_path / "heights.safetensors")).predict(list(x))
    outputs = predict(heights.loaded, heights.data, np.arange(12))
    assert table.columns.tolist() == ["item", "prediction"]
    assert table["prediction"].tolist() == heights.data.task.predict(outputs).tolist()


def test_a_module_of_ones_own_is_given_again_with_its_old_head(tmp_path):
    class WideNet(TinyNet):
        def __init__(self):
            super().__init__()
            self.head = torch.nn.Linear(16, 10)

    ground = ground_of(tiny_data(), f"{__name__}.WideNet", WideNet())
    path = written(ground, tmp_path / "model.safetensors")
    items = [tiny_data()[1][place][0] for place in range(4)]
    table = Predictor.load(path, module=WideNet()).predict(items)
    with torch.no_grad():
        chances = ground.loaded.module(torch.stack(items)).softmax(dim=1)
    assert np.allclose(table[["p.0", "p.1", "p.2"]], chances)
    with pytest.raises(ModelError, match="the model does not run on these items"):
        Predictor.load(path, module=WideNet()).predict(torch.zeros(2, 5))
    with pytest.raises(ModelError, match=r"holds weights of .*WideNet; give the module"):
        Predictor.load(path)


def test_a_run_predicts_without_its_split_and_is_not_evaluated_without_it(photos, model, tmp_path):
    (tmp_path / "search.yaml").write_text("")
    shutil.copy(model, tmp_path / "best_model.safetensors")
    predictor = Predictor.load(tmp_path)
    assert len(predictor.predict(photos)) == 10
    with pytest.raises(RunError, match=r"split.json: is missing"):
        predictor.evaluate(photos)
    assert Predictor.load(model).evaluate(photos).items == 10


def test_what_was_fine_tuned_predicts_as_what_was_saved(photos, tmp_path):
    plain = {"model": {"name": "test_vit", "weights": "random"}, "data": {"image_size": 32}}
    recipe = Recipe.parse({**plain, "stages": [{"name": "head", "epochs": 1}]}, where="test")
    fitted = autoft.fine_tune(recipe, photos, device="cpu", reuse=False)
    fitted.save(tmp_path)
    table = autoft.Predictor.load(tmp_path).predict(photos)
    pd.testing.assert_frame_equal(fitted.predictor.predict(photos), table)


@pytest.mark.parametrize(
    ("items", "told"),
    [
        pytest.param("nowhere.jpg", "nowhere.jpg: there is no such file or folder", id="missing"),
        pytest.param([], "there is nothing to predict", id="nothing"),
        pytest.param(3, "must be files, images or tensors, got int", id="a number"),
        pytest.param(np.zeros((8, 8, 3), np.uint8), r"must be \(N, H, W, 3\), got \(8, 8, 3\)", id="one array"),
        pytest.param([np.zeros((3, 8, 8), np.float32)], r"0: the model takes images.* got input: float32", id="floats"),
    ],
)
def test_what_cannot_be_predicted_is_told(model, items, told):
    with pytest.raises(DataError, match=told):
        Predictor.load(model).predict(items)


def test_nothing_that_can_be_read_and_an_empty_folder_are_told(model, tmp_path):
    with pytest.raises(DataError, match="there are no images in this folder"):
        Predictor.load(model).predict(tmp_path)
    (tmp_path / "bad.jpg").write_text("x")
    with pytest.raises(DataError, match=r"bad.jpg: cannot be read as an image"):
        Predictor.load(model).predict(tmp_path)


def test_what_is_no_model_is_told(tmp_path, model):
    (tmp_path / "bad.safetensors").write_text("x")
    with pytest.raises(WeightsError, match=r"bad.safetensors: is damaged, or no model file"):
        Predictor.load(tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError, match="there is no such run or file"):
        Predictor.load(tmp_path / "none.safetensors")
    with pytest.raises(RunError, match=r"is no run, and has no model.safetensors"):
        Predictor.load(tmp_path)
    (tmp_path / "search.yaml").write_text("")
    with pytest.raises(RunError, match=r"has no best_model.safetensors yet; finish the search with autoft resume"):
        Predictor.load(tmp_path)
    with pytest.raises(ModelError, match="is test_vit of timm; leave the module out"):
        Predictor.load(model, module=TinyNet())
