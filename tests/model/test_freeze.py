import pytest
import torch
from torch import nn

from autoft.errors import FreezeError, ModelError
from autoft.model import (
    FreezeGuard,
    FreezePlan,
    apply_plan,
    is_norm,
    load_model,
    named_tensors,
    plan_stage,
    set_eval,
    set_modes,
    tensor_digest,
    trainable_names,
    unfrozen,
)
from autoft.recipe import ModelConfig, Stage, parse_unfreeze
from autoft.record import GroupCard, ModelCard

DEPTHS = {"head only": 0, "partial": 2, "full": None}


def plan_of(loaded, depth, norm="train"):
    value = "all" if depth is None else depth
    return plan_stage(Stage(name="tune", unfreeze=value, epochs=1, norm=norm), loaded)


def train(loaded, plan, batches, *, steps=2):
    apply_plan(plan, loaded)
    names = trainable_names(plan, loaded)
    optimizer = torch.optim.SGD(
        [loaded.module.get_parameter(name) for name in names], lr=0.05, momentum=0.9, weight_decay=0.1
    )
    for step in range(steps):
        set_modes(plan, loaded)
        loss = nn.functional.cross_entropy(loaded.module(batches(step)), torch.tensor([0, 1, 2, 3]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        set_eval(loaded)
        with torch.no_grad():
            loaded.module(batches(step))


def clones(loaded):
    return {name: tensor.clone() for name, tensor in named_tensors(loaded.module).items()}


@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS)
def test_training_changes_the_trainable_set_and_not_one_bit_else(fresh, inputs, name, depth):
    assert_only_the_trainable_set_changes(fresh, inputs, name, depth, "train")


@pytest.mark.parametrize("depth", [2, None], ids=["partial", "full"])
@pytest.mark.parametrize("model", ["mobilenetv3_small_100", "hand-written"])
def test_with_norm_eval_no_statistics_change_either(fresh, inputs, model, depth):
    assert_only_the_trainable_set_changes(fresh, inputs, model, depth, "eval")


def assert_only_the_trainable_set_changes(fresh, inputs, name, depth, norm):
    loaded = fresh(name, drop_rate=0.1)
    plan = plan_of(loaded, depth, norm)
    guard = FreezeGuard(plan, loaded)
    before = clones(loaded)
    train(loaded, plan, lambda step: inputs(name, seed=step))
    after = named_tensors(loaded.module)
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    owned = {key for index in plan.trainable for key in loaded.groups[index].parameters}
    statistics = {key for index in plan.trainable for key in loaded.groups[index].buffers}
    aliases = {key for key in before if any(after[key] is after[own] for own in owned)}
    assert changed <= aliases | statistics
    assert owned <= changed
    assert bool(changed & statistics) == (norm == "train" and any("running" in key for key in statistics))
    guard.check()


@pytest.mark.parametrize("depth", DEPTHS.values(), ids=DEPTHS)
def test_a_module_trains_exactly_if_its_group_does(fresh, name, depth):
    loaded = fresh(name)
    plan = plan_of(loaded, depth)
    loaded.module.eval()
    apply_plan(plan, loaded)
    assert loaded.module.training
    trained = {id(loaded.module.get_parameter(key)) for i in plan.trainable for key in loaded.groups[i].parameters}
    for path, part in loaded.module.named_modules():
        own = {id(parameter) for parameter in part.parameters(recurse=False)}
        if path and own:
            assert part.training == bool(own & trained), path
        for parameter in part.parameters(recurse=False):
            assert parameter.requires_grad == (id(parameter) in trained)


def test_head_dropout_is_on_while_the_backbone_rests(fresh):
    for name, dropout in (("convnext_atto", "head.drop"), ("vit_tiny_patch16_224", "head_drop")):
        loaded = fresh(name, drop_rate=0.5, drop_path_rate=0.2)
        apply_plan(plan_of(loaded, 0), loaded)
        on = [path for path, part in loaded.module.named_modules() if "Drop" in type(part).__name__ and part.training]
        assert on == [dropout]


def test_drop_path_follows_its_block(fresh):
    loaded = fresh("vit_tiny_patch16_224", drop_path_rate=0.2)
    apply_plan(plan_of(loaded, 2), loaded)
    on = {path for path, part in loaded.module.named_modules() if type(part).__name__ == "DropPath" and part.training}
    assert on == {f"blocks.{block}.drop_path{part}" for block in (10, 11) for part in (1, 2)}


def test_norm_eval_rests_every_kind_of_norm_and_nothing_else(fresh):
    loaded = fresh("hand-written")
    apply_plan(plan_of(loaded, None, "eval"), loaded)
    resting = {path for path, part in loaded.module.named_modules() if not part.training}
    assert resting == {"stem_norm", "bare_norm", "blocks.0.norm", "blocks.1.norm", "blocks.2.norm"}


@pytest.mark.parametrize(
    "norm",
    [nn.BatchNorm1d(2), nn.SyncBatchNorm(2), nn.InstanceNorm2d(2), nn.LayerNorm(2), nn.GroupNorm(1, 2), nn.RMSNorm(2)],
    ids=lambda norm: type(norm).__name__,
)
def test_norms_are_known(norm):
    assert is_norm(norm)


def test_a_norm_of_unknown_name_is_known_by_its_statistics():
    class Whitening(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("running_mean", torch.zeros(2))

    assert is_norm(Whitening())
    assert not is_norm(nn.Linear(2, 2))


VIOLATIONS = {
    "a parameter": lambda m: m.stem.weight.data.add_(1e-7),
    "one step of statistics": lambda m: m.stem_norm.num_batches_tracked.add_(1),
    "statistics of a norm without parameters": lambda m: m.bare_norm.running_var.mul_(1.001),
    "a shared parameter": lambda m: m.blocks[2].conv.weight.data.neg_(),
    "a plain buffer": lambda m: m.shift.add_(1),
    "the type": lambda m: m.stem.double(),
    "a sign of zero": lambda m: m.shift.neg_(),
    "removal": lambda m: delattr(m, "shift"),
}


@pytest.mark.parametrize("violate", VIOLATIONS.values(), ids=VIOLATIONS)
def test_the_guard_names_what_changed(fresh, violate):
    loaded = fresh("hand-written")
    guard = FreezeGuard(plan_of(loaded, 0), loaded)
    guard.check()
    violate(loaded.module)
    with pytest.raises(FreezeError, match="hand-written: frozen tensors must stay bit-identical, but "):
        guard.check()


def test_a_plain_train_call_is_caught_by_the_guard(fresh, inputs):
    loaded = fresh("resnet18")
    plan = plan_of(loaded, 1)
    apply_plan(plan, loaded)
    guard = FreezeGuard(plan, loaded)
    loaded.module.train()
    loaded.module(inputs("resnet18"))
    with pytest.raises(FreezeError, match=r"bn1\.running_mean, bn1\.running_var, bn1\.num_batches_tracked"):
        guard.check()


def test_the_guard_watches_statistics_of_unfrozen_norms_in_eval(fresh):
    loaded = fresh("resnet18")
    guard = FreezeGuard(plan_of(loaded, None, "eval"), loaded)
    loaded.module.bn1.running_mean.add_(1)
    with pytest.raises(FreezeError, match=r"bn1\.running_mean changed"):
        guard.check()


def test_digests_tell_type_and_shape_apart():
    tensors = [torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32), torch.tensor(0.0)]
    tensors += [torch.zeros(0), torch.zeros(4, dtype=torch.bfloat16), torch.tensor(True)]  # noqa: FBT003
    assert len({tensor_digest(tensor) for tensor in tensors}) == len(tensors)
    assert tensor_digest(torch.ones(2, 3).t()) == tensor_digest(torch.ones(3, 2))


def test_gradients_of_what_is_frozen_are_dropped(fresh, inputs):
    loaded = fresh("resnet18")
    apply_plan(plan_of(loaded, None), loaded)
    loaded.module(inputs("resnet18")).sum().backward()
    apply_plan(plan_of(loaded, 0), loaded)
    assert {name for name, parameter in loaded.module.named_parameters() if parameter.grad is not None} == {
        "fc.weight",
        "fc.bias",
    }


def card(*shares, layers=2):
    groups = tuple(GroupCard(f"g{i}", 1, layers, share) for i, share in enumerate(shares))
    return ModelCard("net", "cnn", (*groups, GroupCard("head", 1, 1, 0.0)), "timm", 224, (0.5,), (0.5,))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, set()),
        (2, {2, 3}),
        (4, {0, 1, 2, 3}),
        ("all", {0, 1, 2, 3}),
        (0.0, set()),
        (0.04, set()),
        (0.1, {3}),
        (0.2, {3}),
        (0.25, {2, 3}),
        (0.3, {2, 3}),
        (0.69, {1, 2, 3}),
        (1.0, {0, 1, 2, 3}),
        ("last 1 layer", {3}),
        ("last 2 layers", {3}),
        ("last 3 layers", {2, 3}),
        ("last 8 layers", {0, 1, 2, 3}),
    ],
    ids=str,
)
def test_depths_in_every_form(value, expected):
    assert unfrozen(parse_unfreeze(value), card(0.4, 0.3, 0.2, 0.1), ()) == expected


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (6, "stages.tune.unfreeze: resnet18 has 5 groups below the head, got 6; lower it or write 'all'"),
        ("last 900 layers", "resnet18 has 40 layers below the head, got 900"),
        (("layr4",), r"'layr4' matches no group and no parameter \(did you mean 'layer4'"),
    ],
    ids=str,
)
def test_what_the_model_does_not_have_is_refused(fresh, value, message):
    with pytest.raises(ModelError, match=message):
        plan_stage(Stage(name="tune", unfreeze=value, epochs=1), fresh("resnet18"))


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("layer4",), {4, 5}),
        (("layer[34]*",), {3, 4, 5}),
        (("*.bn1.weight",), {1, 2, 3, 4, 5}),
        (("stem", "fc"), {0, 5}),
    ],
    ids=str,
)
def test_groups_by_name_or_parameter(fresh, patterns, expected):
    plan = plan_stage(Stage(name="tune", unfreeze=patterns, epochs=1), fresh("resnet18"))
    assert plan == FreezePlan(frozenset(expected))


def test_the_flags_of_a_module_of_ones_own_do_not_matter(hand_written):
    module = hand_written().requires_grad_(requires_grad=False)
    loaded = load_model(ModelConfig(name="own"), num_outputs=5, module=module)
    plan = plan_of(loaded, None)
    apply_plan(plan, loaded)
    assert all(parameter.requires_grad for parameter in loaded.module.parameters())
    assert not any(parameter.requires_grad for parameter in module.parameters())
