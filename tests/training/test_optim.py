import pytest
import torch

from autoft.errors import ConfigError, FreezeError
from autoft.model import FreezePlan, apply_plan, trainable_names
from autoft.recipe import Optimisation, Stage
from autoft.training.optim import (
    build_optimizer,
    check_holds_trainable_set,
    group_rate,
    load_optimizer_state,
    optimizer_state,
    set_rates,
)

STAGE = Stage(name="tune", epochs=1, lr=0.1, head_lr=0.5, layer_decay=0.5)


@pytest.fixture
def loaded(tiny):
    world = tiny.world()
    world.trainer(tiny.recipe())
    return world.loaded


def held(optimizer, loaded) -> dict[str, tuple[float, float]]:
    """Rate and decay of every parameter that the optimizer holds."""
    names = {id(parameter): name for name, parameter in loaded.module.named_parameters()}
    return {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}


@pytest.mark.parametrize("trainable", [{3}, {2, 3}, {0, 3}, {0, 1, 2, 3}], ids=str)
@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_the_optimizer_holds_exactly_the_trainable_set(loaded, trainable, opt):
    plan = FreezePlan(frozenset(trainable))
    apply_plan(plan, loaded)
    optimizer = build_optimizer(Optimisation(opt=opt), STAGE, plan, loaded)
    check_holds_trainable_set(optimizer, plan, loaded)
    assert set(held(optimizer, loaded)) == {n for index in trainable for n in loaded.groups[index].parameters}


def test_rates_fall_by_the_layer_decay_from_the_top_backbone_group_down_and_the_head_has_its_own(loaded):
    plan = FreezePlan(frozenset(range(4)))
    found = held(build_optimizer(Optimisation(), STAGE, plan, loaded), loaded)
    rates = [{found[name][0] for name in group.parameters} for group in loaded.groups]
    assert rates == [{0.025}, {0.05}, {0.1}, {0.5}]


def test_norms_and_biases_do_not_decay(loaded):
    plan = FreezePlan(frozenset(range(4)))
    found = held(build_optimizer(Optimisation(weight_decay=0.3), STAGE, plan, loaded), loaded)
    for name, parameter in loaded.module.named_parameters():
        assert found[name][1] == (0.0 if parameter.ndim == 1 else 0.3)


def test_what_the_model_says_must_not_decay_does_not(loaded):
    name = loaded.groups[-1].parameters[0]
    object.__setattr__(loaded.module, "no_weight_decay", lambda: {name})
    found = held(build_optimizer(Optimisation(), STAGE, FreezePlan(frozenset({3})), loaded), loaded)
    assert found[name][1] == 0.0


def test_a_schedule_scales_all_rates_alike(loaded):
    plan = FreezePlan(frozenset({2, 3}))
    optimizer = build_optimizer(Optimisation(), STAGE, plan, loaded)
    for factor in (0.1, 1.0, 0.5):
        set_rates(optimizer, factor)
    assert {rate for rate, _ in held(optimizer, loaded).values()} == {0.05, 0.25}


def test_a_rate_that_is_not_needed_need_not_be_known():
    assert group_rate(Stage(name="head", epochs=1, head_lr=0.5), 3, 4) == 0.5
    with pytest.raises(ConfigError, match=r"stages\.head\.lr: must be known"):
        group_rate(Stage(name="head", epochs=1, head_lr=0.5), 2, 4)


@pytest.mark.parametrize("wrong", ["too few", "too many", "twice", "frozen"])
def test_an_optimizer_that_does_not_hold_the_trainable_set_is_told(loaded, wrong):
    plan = FreezePlan(frozenset({2, 3}))
    other = {"too few": {3}, "too many": {1, 2, 3}}.get(wrong, {2, 3})
    optimizer = build_optimizer(Optimisation(), STAGE, FreezePlan(frozenset(other)), loaded)
    apply_plan(plan, loaded)
    if wrong == "twice":
        optimizer.param_groups[0]["params"] *= 2
    if wrong == "frozen":
        loaded.module.get_parameter(loaded.groups[3].parameters[0]).requires_grad_(requires_grad=False)
    with pytest.raises(FreezeError, match="exactly the trainable"):
        check_holds_trainable_set(optimizer, plan, loaded)


@pytest.mark.parametrize("opt", ["adamw", "sgd"])
def test_parameters_that_train_on_keep_their_state_and_new_ones_start_anew(loaded, opt):
    config, shallow, deep = Optimisation(opt=opt), FreezePlan(frozenset({3})), FreezePlan(frozenset({2, 3}))
    apply_plan(shallow, loaded)
    before = build_optimizer(config, STAGE, shallow, loaded)
    _step(before, loaded)
    state = optimizer_state(before, loaded.module)
    apply_plan(deep, loaded)
    after = build_optimizer(config, STAGE, deep, loaded)
    load_optimizer_state(after, loaded.module, state)
    carried = optimizer_state(after, loaded.module)
    assert set(carried) == set(state)
    assert all(torch.equal(value, state[key]) for key, value in carried.items())
    assert {key.rpartition("//")[0] for key in carried} == set(loaded.groups[3].parameters)
    _step(after, loaded)
    assert {key.rpartition("//")[0] for key in optimizer_state(after, loaded.module)} == set(
        trainable_names(deep, loaded)
    )


def test_parameters_that_no_longer_train_leave_no_state(loaded):
    deep, shallow = FreezePlan(frozenset({2, 3})), FreezePlan(frozenset({3}))
    apply_plan(deep, loaded)
    before = build_optimizer(Optimisation(), STAGE, deep, loaded)
    _step(before, loaded)
    after = build_optimizer(Optimisation(), STAGE, shallow, loaded)
    load_optimizer_state(after, loaded.module, optimizer_state(before, loaded.module))
    assert {key.rpartition("//")[0] for key in optimizer_state(after, loaded.module)} == set(
        loaded.groups[3].parameters
    )


def _step(optimizer, loaded):
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
