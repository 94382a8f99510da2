"""The caller's own module, what a model is tried with, and how a run remembers what it searched."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from autoft.data import DataHandle
from autoft.errors import ConfigError, RunError
from autoft.recipe import Recipe
from autoft.record import InputSpec, Objective

if TYPE_CHECKING:
    from autoft.tuner.given import Model

_BASE = "weights_digest"
_OTHER_WEIGHTS = (
    "the weights that training begins with are others: give the same file, or for a module of your own load its "
    "weights or call torch.manual_seed before it is built"
)


def own_module(model: "Model | None") -> nn.Module | None:
    """The caller's module, if it gave one.

    Raises:
        ConfigError: it gave something else.
    """
    if model is None or isinstance(model, str):
        return None
    if isinstance(model, nn.Module):
        return model
    raise ConfigError(f"model: must be the name of a timm model or an nn.Module, got {type(model).__name__}")


def check_torch() -> None:
    """Refuse settings of the caller's torch under which nothing here could train.

    Raises:
        ConfigError: names the setting.
    """
    if (dtype := torch.get_default_dtype()) != torch.float32:
        raise ConfigError(
            f"torch.set_default_dtype: must be torch.float32 while autoft runs, got {dtype}; set it back, and convert "
            "what the module needs inside of it"
        )
    if (device := torch.get_default_device()).type != "cpu":
        raise ConfigError(
            f"torch.set_default_device: must be cpu while autoft runs, got {device}; set it back: autoft moves model "
            "and data by itself"
        )
    if not torch.is_grad_enabled() or torch.is_inference_mode_enabled():
        raise ConfigError(
            "gradients are switched off (torch.no_grad, torch.inference_mode or torch.set_grad_enabled): call autoft "
            "outside of it"
        )


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ConfigError: says why.
    """
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).split(". ")[0].split("\n")[0]
        raise ConfigError(f"device: {device!r} cannot be used ({reason}); give cpu, or leave it out") from None


def example_batch(spec: InputSpec, rows: int = 2) -> dict[str, torch.Tensor]:
    """A batch of zeros as the model gets it: images float32 (rows, 3, H, W), else the fields' own shapes."""
    if spec.image:
        height, width, channels = spec.fields["input"].shape
        return {"input": torch.zeros(rows, channels, height, width)}
    return {
        name: torch.zeros(rows, *field.shape, dtype=getattr(torch, str(field.dtype)))
        for name, field in spec.fields.items()
    }


def identity(recipe: Recipe, data: DataHandle, objective: Objective, base: str) -> dict[str, Any]:
    """What must not change when a run goes on: trials of another model or split cannot be compared.

    Args:
        recipe: that the search starts from.
        data: opened.
        objective: what decides.
        base: digest of the weights below the head. Random ones are told by the seed.
    """
    settings = recipe.data
    return {
        "model": recipe.model.name,
        "weights": recipe.model.weights,
        _BASE: None if recipe.model.weights == "random" else base,
        "data": data.fingerprint,
        "task": settings.task,
        "image_size": settings.image_size,
        "resize": settings.resize,
        "val_fraction": settings.val_fraction,
        "test_fraction": settings.test_fraction,
        "split_seed": settings.split_seed if settings.split_seed is not None else recipe.seed,
        "seed": recipe.seed,
        "metric": objective.metric,
    }


def check_identity(split: Mapping[str, Any], now: Mapping[str, Any], data: DataHandle, run: str) -> None:
    """Refuse to mix what cannot be compared.

    Args:
        split: the run's split.json, with its `identity`.
        now: the `identity` of what would go on.
        data: which it would go on with.
        run: what the run is called.

    Raises:
        RunError: names what differs; nothing was changed.
    """
    before = split["identity"]
    if missing := [key for key, value in now.items() if key not in before and value is not None]:
        raise RunError(
            f"{run}: was begun by an earlier version of autoft, which did not keep its {', '.join(missing)}, so it is "
            "not known whether this is the same search; nothing was changed: start a search under another --name, "
            f"which begins with the best recipes of this one if you give it --set search.warm_start={run}"
        )
    differing = [key for key in now if before.get(key) != now[key]]
    if differing:
        told = "; ".join(f"{key} was {before.get(key)!r} and is now {now[key]!r}" for key in differing)
        why = [_other_items(split, data)] if "data" in differing else []
        why += [_OTHER_WEIGHTS] if _BASE in differing and "model" not in differing else []
        hint = f" ({'; '.join(why)})" if why else ""
        raise RunError(
            f"{run}: holds another search: {told}{hint}; nothing was changed: put that back, or start a search "
            "under another --name"
        )


def _other_items(split: Mapping[str, Any], data: DataHandle) -> str:
    """What has become of the data."""
    before = {name for part in ("train", "val", "test") for name in split.get(part, ())}
    gone, new = sorted(before - {*data.names}), sorted({*data.names} - before)
    counts = [
        f"{len(names)} {'item is' if len(names) == 1 else 'items are'} {what}, such as {names[0]}"
        for names, what in ((gone, "gone"), (new, "new"))
        if names
    ]
    return " and ".join(counts) or "the items have their names, but not their content, labels, groups or given splits"
