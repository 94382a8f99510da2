"""Optimizers over exactly the trainable set: one rate per layer group, no decay on norms and biases."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autoft.errors import ConfigError, FreezeError
from autoft.model import FreezePlan, LoadedModel, trainable_names
from autoft.recipe import Optimisation, Stage


def group_rate(stage: Stage, index: int, num_groups: int) -> float:
    """The full learning rate of the layer group ``index``, counted from the input; the head is the last.

    Raises:
        ConfigError: it was left to the family's default and not filled in (`autoft.model.complete`).
    """
    head = num_groups - 1
    name, rate = ("head_lr", stage.head_lr) if index == head else ("lr", stage.lr)
    if rate is None:
        raise ConfigError(f"stages.{stage.name}.{name}: must be known before training; complete the recipe first")
    return rate if index == head else float(rate * stage.layer_decay ** (head - 1 - index))


def build_optimizer(config: Optimisation, stage: Stage, plan: FreezePlan, loaded: LoadedModel) -> Optimizer:
    """An optimizer over the parameters of the groups that ``plan`` trains.

    One kernel steps through each of them, which takes a third of the time; complex parameters have none. Each of its
    parameter groups carries its full rate as ``initial_lr``. Parameters of one dimension (norms, biases), and those
    that the model itself names in ``no_weight_decay()``, do not decay.
    """
    from timm.optim import (  # type: ignore[attr-defined]  # noqa: PLC0415 - imports torch's compiler
        create_optimizer_v2,
    )

    decayed = weight_decay_of(config, stage)
    parameters = dict(loaded.module.named_parameters())
    exempt = exempt_from_decay(loaded.module)
    trained = set(trainable_names(plan, loaded))
    groups: list[dict[str, Any]] = []
    for index in sorted(plan.trainable):
        rate = group_rate(stage, index, len(loaded.groups))
        names = [name for name in loaded.groups[index].parameters if name in trained]
        plain = [name for name in names if parameters[name].ndim <= 1 or name in exempt]
        for chosen, decay in (([n for n in names if n not in plain], decayed), (plain, 0.0)):
            if chosen:
                held = [parameters[name] for name in chosen]
                groups.append({"params": held, "lr": rate, "initial_lr": rate, "weight_decay": decay})
    # timm's "sgd" is Nesterov's, which torch refuses without momentum.
    name = "momentum" if config.opt == "sgd" and config.momentum == 0.0 else config.opt
    fused = all(parameters[name].is_floating_point() for name in trained)
    more: dict[str, Any] = {"fused": True} if fused else {}
    built: Optimizer = create_optimizer_v2(groups, name, momentum=config.momentum, **more)
    return built


def weight_decay_of(config: Optimisation, stage: Stage) -> float:
    """The stage's own weight decay, or that of all stages."""
    return config.weight_decay if stage.weight_decay is None else stage.weight_decay


def exempt_from_decay(module: nn.Module) -> set[str]:
    """Parameters that the model itself names as never to decay."""
    named: Callable[[], Any] | None = getattr(module, "no_weight_decay", None)
    return set(named()) if callable(named) else set()


def set_rates(optimizer: Optimizer, factor: float) -> None:
    """Set each rate to ``factor`` of its full value."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def check_holds_trainable_set(optimizer: Optimizer, plan: FreezePlan, loaded: LoadedModel) -> None:
    """Prove that the optimizer holds the parameters that train, each once, and no other.

    Raises:
        FreezeError: naming what is missing or too much.
    """
    name_of = {id(parameter): name for name, parameter in loaded.module.named_parameters()}
    held = [name_of.get(id(each), "an unknown tensor") for group in optimizer.param_groups for each in group["params"]]
    planned = trainable_names(plan, loaded)
    training = [name for name, parameter in loaded.module.named_parameters() if parameter.requires_grad]
    if sorted(held) != sorted(planned) or sorted(training) != sorted(planned):
        wrong = sorted(set(held) ^ set(planned) | set(training) ^ set(planned)) or held
        raise FreezeError(
            f"the optimizer must hold exactly the trainable parameters; wrong: {', '.join(wrong[:5])}; this is a bug"
        )


def optimizer_state(optimizer: Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """Copies of the optimizer's state, as ``PARAMETER//KEY``."""
    return {
        f"{name}//{key}": value.detach().clone()
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
        if value is not None
    }


def load_optimizer_state(optimizer: Optimizer, module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Give the optimizer the state of those of its parameters that ``state`` knows; the others start anew."""
    parameters = dict(module.named_parameters())
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    optimizer.state.clear()
    for key, value in state.items():
        name, _, part = key.rpartition("//")
        if id(parameter := parameters[name]) in held:
            optimizer.state[parameter][part] = _like(value, parameter)


def _like(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A copy of ``value`` laid out as the optimizer would have made it: a step count stays on the CPU."""
    if value.shape != parameter.shape or value.ndim == 0:
        return value.detach().clone()
    return torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format).copy_(value).detach()
