"""Freezing: what a stage trains, the modes that follow from it, and the proof that nothing else changed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, Protocol, TypeAlias

import torch
from torch import Tensor, nn

from autoft.errors import FreezeError, ModelError, near
from autoft.model.groups import LayerGroup, owner
from autoft.model.sources import matches
from autoft.recipe import CostFraction, Everything, LastLayers, Names, Stage, TopGroups, Unfreeze
from autoft.record import ModelCard

NormMode: TypeAlias = Literal["train", "eval"]


class Grouped(Protocol):
    """Anything with groups and their card: a `LoadedModel`, or the description of one."""

    @property
    def card(self) -> ModelCard:
        """What the groups cost."""
        ...

    @property
    def groups(self) -> tuple[LayerGroup, ...]:
        """From input to head."""
        ...


class Freezable(Grouped, Protocol):
    """A model that can be frozen by groups."""

    @property
    def module(self) -> nn.Module:
        """The module itself."""
        ...

    @property
    def homes(self) -> Mapping[str, frozenset[int]]:
        """The groups of every module."""
        ...

    @property
    def fixed(self) -> frozenset[str]:
        """Parameters that are never trained."""
        ...


@dataclass(frozen=True, slots=True)
class FreezePlan:
    """Which groups train (the head always does), and what their norms do."""

    trainable: frozenset[int]
    norm: NormMode = "train"


def plan_stage(stage: Stage, model: Grouped) -> FreezePlan:
    """The plan of a stage for this model.

    Raises:
        ModelError: more is asked for than the model has, or a name that nothing bears.
    """
    try:
        backbone = unfrozen(stage.unfreezing, model.card, model.groups)
    except ModelError as error:
        raise ModelError(f"stages.{stage.name}.unfreeze: {error}") from None
    return FreezePlan(backbone | {len(model.groups) - 1}, "eval" if stage.norm == "eval" else "train")


def unfrozen(what: Unfreeze, card: ModelCard, groups: Sequence[LayerGroup]) -> frozenset[int]:
    """Indices of the backbone groups that are unfrozen.

    Raises:
        ModelError: as `plan_stage`.
    """
    match what:
        case TopGroups(count):
            return _top(count, card)
        case CostFraction(fraction):
            return _top(_groups_worth(fraction, card), card)
        case LastLayers(count):
            return _top(_groups_with_layers(count, card), card)
        case Names(patterns):
            return _named(patterns, groups)
        case Everything():
            return _top(card.depth, card)


def _top(count: int, card: ModelCard) -> frozenset[int]:
    if count > card.depth:
        raise ModelError(f"{card.name} has {card.depth} groups below the head, got {count}; lower it or write 'all'")
    return frozenset(range(card.depth - count, card.depth))


def _groups_worth(fraction: float, card: ModelCard) -> int:
    """How many top groups come nearest to this share of the backbone's cost; the fewer where two are as near."""
    shares = [group.cost_share for group in card.groups[:-1]]
    total = sum(shares)
    if not shares or fraction in {0.0, 1.0} or not total:
        return round(fraction * len(shares))
    above = [sum(shares[len(shares) - count :]) / total for count in range(len(shares) + 1)]
    return min(range(len(above)), key=lambda count: (round(abs(above[count] - fraction), 9), count))


def _groups_with_layers(layers: int, card: ModelCard) -> int:
    available = sum(group.num_layers for group in card.groups[:-1])
    if layers > available:
        raise ModelError(f"{card.name} has {available} layers below the head, got {layers}; lower it or write 'all'")
    count = covered = 0
    while covered < layers:
        count += 1
        covered += card.groups[-1 - count].num_layers
    return count


def _named(patterns: Sequence[str], groups: Sequence[LayerGroup]) -> frozenset[int]:
    chosen: set[int] = set()
    for pattern in patterns:
        hit = {index for index, group in enumerate(groups) if _bears(group, pattern)}
        if not hit:
            known = ", ".join(group.name for group in groups)
            hint = near(pattern, [name for group in groups for name in (group.name, *group.parameters)])
            raise ModelError(f"{pattern!r} matches no group and no parameter{hint}; the groups are: {known}")
        chosen |= hit
    return frozenset(chosen)


def _bears(group: LayerGroup, pattern: str) -> bool:
    return any(matches(name, pattern) for name in (group.name, *group.parameters))


def trainable_names(plan: FreezePlan, model: Freezable) -> tuple[str, ...]:
    """Names of the parameters that the plan trains, from input to head."""
    names = (name for index in sorted(plan.trainable) for name in model.groups[index].parameters)
    return tuple(name for name in names if name not in model.fixed and _can_train(model.module.get_parameter(name)))


def _can_train(parameter: nn.Parameter) -> bool:
    return parameter.is_floating_point() or parameter.is_complex()


def apply_plan(plan: FreezePlan, model: Freezable) -> None:
    """Set what requires a gradient, drop the gradients of what is frozen, and set the modes."""
    trained = set(trainable_names(plan, model))
    for group in model.groups:
        for name in group.parameters:
            parameter = model.module.get_parameter(name)
            parameter.requires_grad_(name in trained)
            if name not in trained:
                parameter.grad = None
    set_modes(plan, model)


def set_modes(plan: FreezePlan, model: Freezable) -> None:
    """Put every module in its mode for training; call it after every evaluation.

    The root trains. Any other module trains if one of its groups does, and is in eval otherwise: with running
    statistics used and unchanged, without dropout. Unfrozen norms follow ``plan.norm``.
    """
    for name, part in model.module.named_modules():
        trains = bool(model.homes[name] & plan.trainable)
        part.training = not name or (trains and not (plan.norm == "eval" and is_norm(part)))


def set_eval(model: Freezable) -> None:
    """Put every module in eval mode, for evaluation; `set_modes` is the way back."""
    for part in model.module.modules():
        part.training = False


def is_norm(part: nn.Module) -> bool:
    """Whether the module normalises: a norm of torch, or of any library by its name or its running statistics."""
    if isinstance(part, nn.modules.batchnorm._NormBase | nn.LayerNorm | nn.GroupNorm | nn.LocalResponseNorm):
        return True
    return "Norm" in type(part).__name__ or "running_mean" in part._buffers


class FreezeGuard:
    """Digests of everything a plan keeps frozen; `check` compares.

    Covered are all parameters that the plan does not train, all buffers of frozen groups, and, with ``norm: eval``,
    the buffers of unfrozen norms.
    """

    def __init__(self, plan: FreezePlan, model: Freezable) -> None:
        self._model = model
        self._names = tuple(_frozen_names(plan, model))
        self._before = dict(self._digests())

    def check(self) -> None:
        """Compare with how things were.

        Raises:
            FreezeError: names what changed.
        """
        now = dict(self._digests())
        if changed := [name for name in self._names if now[name] != self._before[name]]:
            shown = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
            raise FreezeError(
                f"{self._model.card.name}: frozen tensors must stay bit-identical, but {shown} changed; "
                "if the model's own forward() writes to them, unfreeze their groups, else report this as a bug"
            )

    def _digests(self) -> Iterator[tuple[str, str]]:
        tensors = named_tensors(self._model.module)
        for name in self._names:
            yield name, tensor_digest(tensors[name]) if name in tensors else "gone"


def _frozen_names(plan: FreezePlan, model: Freezable) -> Iterator[str]:
    trained = set(trainable_names(plan, model))
    for index, group in enumerate(model.groups):
        yield from (name for name in group.parameters if name not in trained)
        for name in group.buffers:
            norm = plan.norm == "eval" and is_norm(model.module.get_submodule(owner(name)))
            if index not in plan.trainable or norm:
                yield name


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, those that a state dict leaves out and second names included."""
    parameters = module.named_parameters(remove_duplicate=False)
    return {**dict(parameters), **dict(module.named_buffers(remove_duplicate=False))}


def tensor_digest(tensor: Tensor) -> str:
    """Digest of type, shape and bytes of a tensor, wherever it is."""
    digest = blake2b(f"{tensor.dtype} {tuple(tensor.shape)}".encode(), digest_size=16)
    if tensor.numel():
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def state_digest(module: nn.Module, groups: Sequence[LayerGroup]) -> str:
    """Digest of the parameters and buffers of these groups, names included."""
    tensors = named_tensors(module)
    digest = blake2b(digest_size=16)
    for group in groups:
        for name in (*group.parameters, *group.buffers):
            digest.update(f"{name} {tensor_digest(tensors[name])}\n".encode())
    return digest.hexdigest()
