import pytest
import torch
from freezing_models import base

from autoft.errors import WeightsError
from autoft.model import load_model, original_head
from autoft.recipe import ModelConfig


def loaded_from(path, *, num_outputs=3):
    return load_model(ModelConfig(name="test_vit", weights=str(path)), num_outputs=num_outputs)


@pytest.fixture(scope="module")
def state():
    return load_model(ModelConfig(name="test_vit", weights="random"), num_outputs=7, seed=9).module.state_dict()


@pytest.mark.parametrize("num_outputs", [3, 7], ids=["another head", "the same head"])
def test_the_classifier_in_the_file_is_found_again(tmp_path, state, num_outputs):
    torch.save(state, tmp_path / "w.pth")
    found = original_head(loaded_from(tmp_path / "w.pth", num_outputs=num_outputs))
    assert torch.equal(found.weight, state["head.weight"])
    features = torch.randn(2, found.weight.shape[1])
    expected = torch.nn.functional.linear(features, state["head.weight"], state["head.bias"])
    torch.testing.assert_close(found.logits(features).float(), expected)


def test_a_file_without_a_classifier_has_none(tmp_path, state):
    torch.save({name: tensor for name, tensor in state.items() if not name.startswith("head.")}, tmp_path / "w.pth")
    assert original_head(loaded_from(tmp_path / "w.pth")) is None


@pytest.mark.parametrize("name", ["resnet18", "hand-written"], ids=["random weights", "a module of one's own"])
def test_without_a_pretrained_classifier_there_is_none(name):
    assert original_head(base(name)) is None


def test_weights_that_are_gone_are_told(tmp_path, state):
    torch.save(state, tmp_path / "w.pth")
    loaded = loaded_from(tmp_path / "w.pth")
    (tmp_path / "w.pth").unlink()
    with pytest.raises(WeightsError, match="no such file"):
        original_head(loaded)
