import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from autoft.errors import ModelError
from autoft.model import layer_groups, named_tensors
from autoft.model.groups import homes_of

EXPECTED = {
    "resnet18": ["stem", "layer1", "layer2", "layer3", "layer4", "head"],
    "mobilenetv3_small_100": ["stem", *(f"blocks.{i}" for i in range(6)), "head"],
    "tf_efficientnet_lite0": ["stem", *(f"blocks.{i}" for i in range(7)), "head"],
    "vit_tiny_patch16_224": ["stem", *(f"blocks.{i}" for i in range(12)), "head"],
    "convnext_atto": ["stem", *(f"stages.{i}" for i in range(4)), "head"],
    "swin_tiny_patch4_window7_224": ["stem", *(f"layers.{i}" for i in range(4)), "head"],
    "hand-written": ["stem", "stem_norm", "blocks.0", "blocks.1", "blocks.2", "neck", "head"],
}


def assert_partition(model, groups):
    parameters = [name for group in groups for name in group.parameters]
    assert len({id(model.get_parameter(name)) for name in parameters}) == len(parameters)
    assert {id(model.get_parameter(name)) for name in parameters} == {id(p) for p in model.parameters()}
    buffers = [name for group in groups for name in group.buffers]
    assert sorted(buffers) == sorted(name for name, _ in model.named_buffers())
    assert groups[-1].name == "head"
    assert len({group.name for group in groups}) == len(groups)


def test_groups_partition_parameters_and_buffers_from_input_to_head(fresh, name):
    loaded = fresh(name)
    assert [group.name for group in loaded.groups] == EXPECTED[name]
    assert_partition(loaded.module, loaded.groups)


def test_the_head_is_exactly_the_classifier(fresh, name):
    loaded = fresh(name)
    classifier = loaded.module.fc if name == "hand-written" else loaded.module.get_classifier()
    head = {id(loaded.module.get_parameter(p)) for p in loaded.groups[-1].parameters}
    assert head == {id(parameter) for parameter in classifier.parameters()}
    assert loaded.groups[-1].buffers == ()


@pytest.mark.parametrize(
    ("model", "left_over"),
    [
        ("mobilenetv3_small_100", "conv_head.weight"),
        ("convnext_atto", "head.norm.weight"),
        ("swin_tiny_patch4_window7_224", "norm.weight"),
        ("vit_tiny_patch16_224", "norm.weight"),
        ("tf_efficientnet_lite0", "bn2.weight"),
    ],
)
def test_what_timm_leaves_over_joins_the_top_backbone_group(fresh, model, left_over):
    assert left_over in fresh(model).groups[-2].parameters


def test_a_shared_parameter_is_in_the_earliest_group(fresh):
    groups = {group.name: group for group in fresh("hand-written").groups}
    assert "blocks.0.conv.weight" in groups["blocks.0"].parameters
    assert not any("conv" in name for name in groups["blocks.2"].parameters)


def test_buffers_follow_their_norm_even_when_it_owns_no_parameters(fresh):
    groups = {group.name: group for group in fresh("hand-written").groups}
    assert "bare_norm.running_mean" in groups["blocks.2"].buffers
    assert "blocks.1.norm.running_var" in groups["blocks.1"].buffers


def test_dropout_belongs_to_the_part_it_regularises(fresh):
    loaded = fresh("hand-written")
    head = len(loaded.groups) - 1
    assert loaded.homes["drop"] == {head}
    assert loaded.homes["blocks.1.drop"] == {3}
    assert fresh("convnext_atto").homes["head.drop"] == {5}
    assert fresh("vit_tiny_patch16_224").homes["pos_drop"] == {0}
    assert fresh("vit_tiny_patch16_224").homes["head_drop"] == {13}


def test_patterns_make_the_groups_in_their_order(fresh):
    module = fresh("resnet18").module
    groups = layer_groups(module, ["conv1", "bn1", "layer[12]*", "layer*"])
    assert [group.name for group in groups] == ["conv1", "bn1", "layer[12]*", "layer*", "head"]
    assert_partition(module, groups)


def test_a_pattern_of_the_head_alone_is_passed_over(fresh):
    groups = layer_groups(fresh("resnet18").module, ["conv1", "bn1", "layer*", "fc"])
    assert [group.name for group in groups] == ["conv1", "bn1", "layer*", "head"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["layer*"], "every parameter must match a pattern, but none matches conv1.weight, bn1.weight, bn1.bias; add"),
        (["conv1", "bn1", "layer*", "lyer5"], "'lyer5' matches no parameter"),
        (["*", "layer1"], "'layer1' matches only what patterns before it match"),
    ],
    ids=["gap", "nothing", "covered"],
)
def test_patterns_that_do_not_cover_the_model_are_refused(fresh, patterns, message):
    with pytest.raises(ModelError, match=message.replace("*", r"\*")):
        layer_groups(fresh("resnet18").module, patterns)


def test_a_sequential_falls_into_its_children():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4, 2))
    groups = layer_groups(model)
    assert [(group.name, group.parameters) for group in groups] == [
        ("0", ("0.weight", "0.bias")),
        ("1", ("1.weight", "1.bias")),
        ("head", ("4.weight", "4.bias")),
    ]


def test_containers_of_blocks_are_opened_wherever_they_hide():
    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.position = nn.Parameter(torch.zeros(4))
            self.layer = nn.ModuleList(nn.TransformerEncoderLayer(8, 2) for _ in range(3))

    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(10, 8)
            self.encoder = Encoder()
            self.head = nn.Linear(8, 2)

    model = Wrapped()
    groups = layer_groups(model)
    names = [group.name for group in groups]
    assert names == ["embedding", "encoder.layer.0", "encoder.layer.1", "encoder.layer.2", "head"]
    assert "encoder.position" in groups[1].parameters
    assert_partition(model, groups)


def test_a_lone_linear_is_a_head():
    assert [group.name for group in layer_groups(nn.Linear(3, 2))] == ["head"]


def test_what_is_no_module_is_refused():
    with pytest.raises(ModelError, match=r"must be an nn.Module, got str; for a timm model give timm.create_model"):
        layer_groups("resnet18")


def test_a_model_without_a_head_is_refused():
    with pytest.raises(ModelError, match="Conv2d: has no head"):
        layer_groups(nn.Conv2d(3, 4, 3))


def test_a_head_that_is_tied_to_the_input_is_refused():
    model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 10, bias=False))
    model[1].weight = model[0].weight
    with pytest.raises(ModelError, match="shares all its parameters"):
        layer_groups(model)


layers = st.sampled_from(["linear", "norm", "bare", "drop", "nest", "list"])


def build(kinds):
    parts = []
    for kind in kinds:
        match kind:
            case "linear":
                parts.append(nn.Linear(2, 2))
            case "norm":
                parts.append(nn.BatchNorm1d(2))
            case "bare":
                parts.append(nn.BatchNorm1d(2, affine=False))
            case "drop":
                parts.append(nn.Dropout(0.1))
            case "nest":
                parts.append(
                    nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), nn.Sequential(nn.Linear(2, 2)))
                )
            case "list":
                parts.append(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)]))
    return nn.Sequential(*parts, nn.Linear(2, 2))


@settings(deadline=None, max_examples=50)
@given(st.lists(layers, max_size=6), st.data())
def test_any_tree_is_partitioned_and_every_module_has_a_home(kinds, data):
    model = build(kinds)
    linears = [part for part in model.modules() if isinstance(part, nn.Linear)]
    if len(linears) > 2 and data.draw(st.booleans()):
        first, second = data.draw(st.sampled_from(list(itertools.combinations(linears[:-1], 2))))
        second.weight = first.weight
    groups = layer_groups(model)
    assert_partition(model, groups)
    homes = homes_of(model, groups)
    for name, _ in model.named_modules():
        assert homes[name]
        assert homes[name] <= set(range(len(groups)))


def test_tensors_are_named_with_their_second_names():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    assert {"0.weight", "1.weight"} <= set(named_tensors(model))
