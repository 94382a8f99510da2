import time

import pytest
import torch
from torch import Tensor, nn

from autoft.errors import ConfigError, ModelError
from autoft.model import apply_plan, load_model, model_input, named_tensors, plan_stage, state_digest
from autoft.recipe import ModelConfig, Stage


def random(name, **settings):
    return ModelConfig(name=name, weights="random", **settings)


def bits(module):
    return {name: tensor.clone() for name, tensor in named_tensors(module).items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def trained_output(loaded, x):
    """What the model gives in train mode, which depends on the drop rates."""
    apply_plan(plan_stage(Stage(name="all", unfreeze="all", epochs=1), loaded), loaded)
    torch.manual_seed(3)
    return loaded.module(x)


@pytest.mark.parametrize("model", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_a_reset_model_is_bitwise_a_loaded_one(model):
    rates = {"drop_rate": 0.4, "drop_path_rate": 0.3}
    x = torch.randn(4, 3, 160, 160, generator=torch.Generator().manual_seed(0))
    used = load_model(random(model), num_outputs=3, seed=5)
    trained_output(used, x).sum().backward()
    for parameter in used.module.parameters():
        parameter.data.add_(1)
    for settings in (rates, {"drop_rate": 0.0, "drop_path_rate": 0.0}):
        again, new = used.reset(**settings), load_model(random(model, **settings), num_outputs=3, seed=5)
        assert same(bits(again.module), bits(new.module))
        assert [type(part) for part in again.module.modules()] == [type(part) for part in new.module.modules()]
        assert all(not part.training for part in again.module.modules())
        assert again.homes == new.homes
        assert (again.digest, again.card) == (new.digest, new.card)
        assert torch.equal(trained_output(again, x), trained_output(new, x))


def test_resets_share_nothing(fresh, name):
    one, two = fresh(name), fresh(name)
    held = {tensor.data_ptr() for tensor in named_tensors(one.module).values() if tensor.numel()}
    assert not held & {tensor.data_ptr() for tensor in named_tensors(two.module).values() if tensor.numel()}


def test_a_reset_is_quick(fresh):
    loaded = fresh("mobilenetv3_small_100")
    start = time.perf_counter()
    for rate in (0.1, 0.2, 0.3):
        loaded.reset(drop_rate=rate)
    assert time.perf_counter() - start < 3


def test_the_same_seed_gives_the_same_model_and_another_seed_another():
    one, same_seed, other = (load_model(random("test_vit"), num_outputs=3, seed=seed) for seed in (1, 1, 2))
    assert same(bits(one.module), bits(same_seed.module))
    assert one.digest == same_seed.digest != other.digest
    assert same(bits(one.reset(seed=2).module), bits(other.module))


def test_a_new_head_depends_on_the_seed_and_the_rest_on_the_weights(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(load_model(random("test_vit"), num_outputs=7).module.state_dict(), path)
    config = ModelConfig(name="test_vit", weights=str(path))
    one, two = (load_model(config, num_outputs=3, seed=seed) for seed in (1, 2))
    assert one.digest == two.digest
    assert not torch.equal(one.module.head.weight, two.module.head.weight)
    assert same(bits(one.reset(seed=2).module), bits(two.module))
    assert same(bits(one.reset(seed=2).reset(seed=1).module), bits(one.module))


def test_loading_leaves_the_global_generator_alone():
    torch.manual_seed(11)
    expected = torch.get_rng_state()
    loaded = load_model(random("test_vit", drop_rate=0.1), num_outputs=3)
    loaded.reset(drop_rate=0.2, drop_path_rate=0.1, seed=4)
    assert torch.equal(torch.get_rng_state(), expected)


def test_the_digest_is_of_what_lies_below_the_head():
    narrow, wide = (load_model(random("test_vit"), num_outputs=width) for width in (3, 4))
    assert narrow.digest != ""
    assert state_digest(narrow.module, narrow.groups[:-1]) == narrow.digest
    with torch.no_grad():
        narrow.module.head.weight.add_(1)
    assert state_digest(narrow.module, narrow.groups[:-1]) == narrow.digest
    with torch.no_grad():
        narrow.module.cls_token.add_(1)
    assert state_digest(narrow.module, narrow.groups[:-1]) != narrow.digest
    assert wide.module.head.weight.shape[0] == 4


def test_a_model_is_built_for_the_image_size_asked():
    loaded = load_model(random("vit_tiny_patch16_224"), num_outputs=2, image_size=48)
    assert loaded.module.pos_embed.shape[1] == 1 + 9
    assert loaded.card.image_size == 224


@pytest.mark.parametrize(
    ("settings", "size", "message"),
    [
        ({"name": "test_vit"}, 8, "choose another data.image_size"),
        ({"name": "vgg11", "drop_path_rate": 0.1}, 32, "model.drop_path_rate: vgg11 has no"),
    ],
    ids=["size", "drop path"],
)
def test_settings_that_do_not_suit_the_model_are_refused(settings, size, message):
    with pytest.raises(ModelError, match=message):
        load_model(ModelConfig(weights="random", **settings), num_outputs=2, image_size=size)


class Net(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU())
        self.out = nn.Linear(8, width)
        self.unused = nn.Linear(8, 9)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.body(x))


EXAMPLE = {"input": torch.ones(2, 3)}


def own(module, num_outputs=4, **settings):
    return load_model(ModelConfig(name="Net", **settings), num_outputs=num_outputs, module=module, example=EXAMPLE)


def test_the_head_of_ones_own_module_is_the_last_linear_layer_called():
    loaded = own(Net(), num_outputs=2)
    assert loaded.groups[-1].parameters == ("out.weight", "out.bias")
    assert loaded.module.out.out_features == 2
    assert loaded.card.family == "other"
    assert loaded.card.groups_from == "module tree"


def test_a_head_of_the_right_width_is_kept_and_the_module_is_not_touched():
    module = Net().train()
    before = bits(module)
    loaded = own(module)
    assert torch.equal(loaded.module.out.weight, module.out.weight)
    loaded.module.out.weight.data.add_(1)
    own(module, num_outputs=2)
    assert same(bits(module), before)
    assert module.training


def test_head_dropout_on_ones_own_module():
    loaded = own(Net(), drop_rate=0.5)
    apply_plan(plan_stage(Stage(name="head", epochs=1), loaded), loaded)
    x = torch.randn(64, 3)
    assert not torch.equal(loaded.module(x), loaded.module(x))
    still = loaded.reset(drop_rate=0.0)
    apply_plan(plan_stage(Stage(name="head", epochs=1), still), still)
    assert torch.equal(still.module(x), still.module(x))


@pytest.mark.parametrize(
    ("module", "settings", "message"),
    [
        (Net(), {"drop_path_rate": 0.1}, "model.drop_path_rate: cannot be set on a module of your own, got 0.1"),
        (nn.Sequential(nn.Conv1d(2, 4, 1)), {}, "has no nn.Linear inside that could become the head"),
        (nn.Sequential(nn.Linear(5, 4)), {}, r"Net: does not run on input \(2, 3\): mat1 and mat2.*; feed"),
        (nn.Sequential(nn.Linear(3, 4)).half(), {}, r"parameters of type float16, .*: call .float\(\) on it"),
        (nn.Sequential(nn.LazyLinear(4)), {}, "has lazy layers without parameters yet; call it once on a batch"),
        (nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (2, 2))), {}, r"must return \(batch, 4\), got \(2, 2, 2\)"),
        (nn.LSTM(3, 4), {}, "has no nn.Linear inside"),
    ],
    ids=["drop path", "no linear", "other input", "half", "lazy", "other output", "tuple"],
)
def test_modules_that_do_not_suit_are_refused(module, settings, message):
    with pytest.raises(ModelError, match=message):
        own(module, **settings)


def test_a_reset_with_a_rate_out_of_range_is_refused():
    with pytest.raises(ConfigError, match=r"model: drop_rate: must be less than 1, got 1\.5"):
        own(Net()).reset(drop_rate=1.5)


def test_fields_become_the_argument_of_a_module():
    x, y = torch.ones(1), torch.zeros(1)
    assert model_input({"input": x}) is x
    assert model_input({"input": x, "mask": y}) == {"input": x, "mask": y}


def test_channels_in_the_last_place_are_guessed_from_the_shape():
    with pytest.raises(
        ModelError, match=r"does not run on input \(2, 8, 8, 3\).*; if these are images \(H, W, C\), give"
    ):
        load_model(random("test_resnet"), num_outputs=2, example={"input": torch.zeros(2, 8, 8, 3)})
