"""What is checked and drawn up before a trial trains."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.data.metrics import Array
from autoft.errors import ConfigError, ModelError
from autoft.model import FreezePlan, LoadedModel, state_digest
from autoft.recipe import Recipe
from autoft.training.optim import group_rate


def check_settings(recipe: Recipe, data: DataHandle) -> None:
    """Refuse settings that have no meaning for the data.

    Raises:
        ConfigError: one line per setting.
    """
    data.task.check(recipe.data, recipe.optimisation)
    if recipe.data.augment != "none" and not data.spec.image:
        raise ConfigError(f"data.augment: needs images, got {recipe.data.augment!r} for tensors; use none")


def check_norms(recipe: Recipe, device: str) -> None:
    """Refuse batch statistics over several processes where there are no GPUs: torch cannot compute them on a CPU.

    Raises:
        ConfigError: naming the stage.
    """
    for stage in recipe.stages:
        if stage.norm == "sync" and device == "cpu":
            raise ConfigError(
                f"stages.{stage.name}.norm: sync needs GPUs (torch has no synchronised batch statistics for CPUs), "
                "got cpu; use norm: eval"
            )


def check_rates(recipe: Recipe, plans: Sequence[FreezePlan], loaded: LoadedModel) -> None:
    """Refuse a recipe whose rates nobody filled in, and one that solves for a head which is not linear.

    Raises:
        ConfigError: naming the first.
    """
    for stage, plan in zip(recipe.stages, plans, strict=True):
        if stage.fit == "steps":
            for index in plan.trainable:
                group_rate(stage, index, len(loaded.groups))
        elif loaded.head is None:
            raise ConfigError(
                f"stages.{stage.name}.fit: solve needs a head that is one linear layer on features (items, features), "
                f"which {loaded.card.name} does not have; use fit: steps"
            )


def check_base(loaded: LoadedModel) -> None:
    """Refuse a model that is not in its base state.

    Raises:
        ModelError: it has been trained.
    """
    if state_digest(loaded.module, loaded.groups[:-1]) != loaded.digest:
        raise ModelError(f"{loaded.card.name}: has been trained already; take a fresh one with loaded.reset()")


def constant_loss(data: DataHandle, batches: list[Array]) -> float:
    """Loss of the best constant predictor of what the sampler draws."""
    drawn = data.targets[np.concatenate(batches)]
    return data.task.constant_loss(drawn, drawn)


def class_weights(recipe: Recipe, data: DataHandle, device: torch.device) -> Tensor | None:
    """The recipe's class weights (classes,), if it asks for any."""
    if recipe.data.class_weights == "none":
        return None
    return data.task.class_weights(data.targets[data.splits.train]).to(device)
