import pytest
import torch
from torch import nn

from autoft.errors import ModelError, UnknownNameError
from autoft.model import build_card, describe, load_model
from autoft.model.trace import multiply_adds, trace
from autoft.recipe import ModelConfig


def test_shares_of_cost_sum_to_one(fresh, name):
    card = fresh(name).card
    assert sum(group.cost_share for group in card.groups) == pytest.approx(1)
    assert all(group.cost_share > 0 for group in card.groups if group.name not in {"stem_norm", "blocks.2"})
    assert card.depth == len(card.groups) - 1


def test_the_card_without_weights_is_the_card_of_the_model():
    config = ModelConfig(name="vit_tiny_patch16_224", weights="random")
    assert build_card(config) == load_model(config, num_outputs=1000).card


@pytest.mark.parametrize("name", ["resnet18", "swin_tiny_patch4_window7_224"])
def test_published_multiply_adds(name):
    published = {"resnet18": 1.82e9, "swin_tiny_patch4_window7_224": 4.5e9}
    loaded = describe(ModelConfig(name=name), image_size=None)
    model = load_model(ModelConfig(name=name, weights="random"), num_outputs=1000).module
    counted = sum(trace(model, torch.zeros(1, 3, 224, 224)).multiply_adds.values())
    assert counted == pytest.approx(published[name], rel=0.02)
    assert loaded.cut == "cutter"


@pytest.mark.parametrize(
    ("part", "shape", "expected"),
    [
        (nn.Linear(4, 5), (2, 4), 2 * 4 * 5),
        (nn.Conv2d(4, 6, 3, padding=1, groups=2), (1, 4, 5, 5), 25 * 6 * 2 * 9),
        (nn.ConvTranspose2d(4, 6, 2, stride=2), (1, 4, 5, 5), 25 * 4 * 6 * 4),
        (nn.LSTM(3, 4, bias=False), (7, 2, 3), 14 * (4 * 4 * 3 + 4 * 4 * 4)),
        (nn.ReLU(), (2, 4), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_multiply_adds_of_a_layer(part, shape, expected):
    x = torch.zeros(shape)
    assert multiply_adds(part, x, part(x)) == expected


def test_attention_counts_its_projections_and_its_products():
    attention, x = nn.MultiheadAttention(8, 2, batch_first=True), torch.zeros(3, 5, 8)
    assert multiply_adds(attention, x, attention(x, x, x)) == 3 * (4 * 5 * 8 * 8 + 2 * 5 * 5 * 8)


def test_tracing_leaves_no_hooks_behind(fresh, inputs):
    module = fresh("resnet18").module
    found = trace(module, inputs("resnet18"))
    assert found.order[:3] == ("", "conv1", "bn1")
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_a_module_of_ones_own_is_described(hand_written):
    described = describe(ModelConfig(name="own"), module=hand_written(), example={"input": torch.zeros(2, 3, 16, 16)})
    assert (described.cut, described.why_not) == ("traced", None)
    assert described.card.image_size == 16


def test_without_an_example_parameters_stand_for_the_cost():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 6, bias=False))
    described = describe(ModelConfig(name="own"), module=module)
    assert [group.cost_share for group in described.card.groups] == [0.25, 0.75]
    assert (described.cut, described.card.image_size) == ("opaque", 0)


def test_unknown_names_and_sizes_are_refused():
    with pytest.raises(UnknownNameError, match="timm has no model"):
        build_card(ModelConfig(name="resnet1"))
    with pytest.raises(ModelError, match="choose another data"):
        build_card(ModelConfig(name="test_vit"), image_size=8)
