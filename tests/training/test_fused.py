"""Fused heads: the numbers of one head do not depend on its companions, and are those of torch's own optimizers."""

import math

import pytest
import torch
from torch.nn import functional

from autoft.data import Task
from autoft.training.fused import FusedHeads, HeadSettings, HeadState

FEATURES = 20
TASKS = {
    "single_label": Task("single_label", tuple("abcde")),
    "multi_label": Task("multi_label", tuple("abc")),
    "regression": Task("regression", target_mean=2.0, target_std=3.0),
}


def settings_of(place):
    """Sixty-four heads, no two alike."""
    return HeadSettings(
        rate=1e-3 * (1 + place),
        weight_decay=(0.0, 1e-4, 1e-1)[place % 3],
        drop_rate=(place // 10) * 0.05,
        label_smoothing=(0.0, 0.1)[place % 2],
        clip=(0.05, math.inf)[place % 2],
        ema_decay=0.98 if place % 5 == 0 else None,
    )


def heads(places, kind="single_label", *, opt="adamw", momentum=0.9, settings=None, **options):
    task = TASKS[kind]
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(task.num_outputs, FEATURES, generator=generator) * 0.1
    states = [HeadState(weight, torch.zeros(task.num_outputs), {}, 0) for _ in places]
    options = {"class_weights": None, "device": torch.device("cpu"), **options}
    chosen = settings or [settings_of(place) for place in places]
    return FusedHeads(task, chosen, states, opt=opt, momentum=momentum, **options)


def batches(kind="single_label", count=6):
    """Batches of several sizes, one item included."""
    generator = torch.Generator().manual_seed(4)
    for step in range(count):
        size = (8, 3, 1)[step % 3]
        features = torch.randn(size, FEATURES, generator=generator)
        match kind:
            case "single_label":
                yield features, torch.randint(0, 5, (size,), generator=generator)
            case "multi_label":
                yield features, (torch.rand(size, 3, generator=generator) < 0.4).float()
            case _:
                yield features, torch.randn(size, generator=generator) * 3 + 2


def train(fused, kind="single_label"):
    told = []
    for step, (features, targets) in enumerate(batches(kind)):
        told.append(fused.gradients(features, targets, torch.Generator().manual_seed(step)))
        fused.update([1.0 / (1 + step)] * len(fused))
    return told


def numbers(fused, place):
    state = fused.state(place)
    averaged = fused.state(place, evaluated=True)
    return [
        state.weight,
        state.bias,
        averaged.weight,
        averaged.bias,
        *(t for pair in state.moments.values() for t in pair),
    ]


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
@pytest.mark.parametrize("kind", TASKS)
def test_a_head_has_the_same_bits_with_1_2_and_64_companions(kind, opt):
    together = heads(range(64), kind, opt=opt)
    expected = train(together, kind)
    rows = torch.randn(32, FEATURES, generator=torch.Generator().manual_seed(9))
    for places in ([0], [7], [63], [5, 40], [1, 2, 33]):
        fused = heads(places, kind, opt=opt)
        found = train(fused, kind)
        for place, of in enumerate(places):
            assert [(loss[place], norm[place]) for loss, norm in found] == [
                (loss[of], norm[of]) for loss, norm in expected
            ]
            assert all(map(torch.equal, numbers(fused, place), numbers(together, of)))
            assert torch.equal(fused.outputs(rows)[place], together.outputs(rows)[of])


def test_heads_that_leave_change_nothing_for_those_that_stay():
    whole, parted = heads([1, 2, 33]), heads([1, 2, 33])
    train(whole)
    for step, (features, targets) in enumerate(batches()):
        if step == 3:
            parted.keep([0, 2])
        parted.gradients(features, targets, torch.Generator().manual_seed(step))
        parted.update([1.0 / (1 + step)] * len(parted))
    for place, of in ((0, 0), (1, 2)):
        assert all(map(torch.equal, numbers(parted, place), numbers(whole, of)))


def plain_settings(**changes):
    return HeadSettings(
        **{"rate": 1e-2, "weight_decay": 0.1, "drop_rate": 0.0, "label_smoothing": 0.0, "clip": 0.5, "ema_decay": None}
        | changes
    )


@pytest.mark.parametrize(("opt", "momentum"), [("adamw", 0.9), ("sgd", 0.9), ("sgd", 0.0)])
@pytest.mark.parametrize(
    ("kind", "weighted"), [*((kind, False) for kind in TASKS), ("single_label", True), ("multi_label", True)]
)
def test_a_head_learns_as_torch_teaches_it(kind, opt, momentum, weighted):
    task = TASKS[kind]
    weights = torch.linspace(0.5, 2.0, task.num_outputs) if weighted else None
    smoothing = 0.0 if kind == "regression" else 0.1
    fused = heads(
        [0],
        kind,
        opt=opt,
        momentum=momentum,
        settings=[plain_settings(label_smoothing=smoothing)],
        class_weights=weights,
    )
    start = fused.state(0)
    weight, bias = start.weight.clone().requires_grad_(), start.bias.clone().requires_grad_()
    groups = [{"params": [weight], "weight_decay": 0.1}, {"params": [bias], "weight_decay": 0.0}]
    if opt == "adamw":
        optimizer = torch.optim.AdamW(groups, lr=1e-2)
    else:
        optimizer = torch.optim.SGD(groups, lr=1e-2, momentum=momentum, nesterov=momentum > 0)
    for step, (features, targets) in enumerate(batches(kind)):
        losses, norms = fused.gradients(features, targets, torch.Generator().manual_seed(step))
        fused.update([1.0])
        outputs = functional.linear(features, weight, bias)
        optimizer.zero_grad()
        task.loss(outputs, targets, label_smoothing=smoothing, class_weights=weights).mean().backward()
        norm = torch.nn.utils.clip_grad_norm_([weight, bias], 0.5)
        optimizer.step()
        assert losses[0] == pytest.approx(float(task.loss(outputs.detach(), targets).mean()), rel=1e-5)
        assert norms[0] == pytest.approx(float(norm), rel=1e-5)
    torch.testing.assert_close(fused.state(0).weight, weight.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(fused.state(0).bias, bias.detach(), rtol=1e-4, atol=1e-6)


def test_dropout_drops_its_share_and_keeps_the_mean():
    fused = heads([0], settings=[plain_settings(drop_rate=0.25)])
    ((_, seen),) = fused._dropped(torch.ones(400, FEATURES), torch.Generator().manual_seed(0))
    assert float((seen == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(seen.mean()) == pytest.approx(1.0, abs=0.03)


def test_targets_may_be_mixed():
    fused = heads([0, 1])
    features = torch.randn(4, FEATURES)
    whole = functional.one_hot(torch.tensor([0, 1, 2, 3]), 5).float()
    numbered, _ = fused.gradients(features, torch.tensor([0, 1, 2, 3]), torch.Generator().manual_seed(0))
    mixed, _ = fused.gradients(features, whole, torch.Generator().manual_seed(0))
    assert numbered == mixed
