"""Run one recipe to its end: the public function fine_tune."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoft.cache import ActivationCache, reuse_of
from autoft.cache.measure import MeasurementError
from autoft.data.other_metrics import GivenMetric
from autoft.errors import ConfigError, DivergedError, UnknownNameError
from autoft.model.memory import MemoryFormat
from autoft.recipe import Provenance, Recipe
from autoft.record import Curve, Decision, Evaluation, Objective
from autoft.training import TrialResult, fit, go_on, save_model
from autoft.tuner.conclude import versions
from autoft.tuner.given import Data, Model, model_name
from autoft.tuner.inputs import check_device, own_module
from autoft.tuner.layout import faster_format
from autoft.tuner.predictor import FITTED_MODEL, Predictor
from autoft.tuner.prepare import Ground, lay_ground, measurements_of
from autoft.tuner.usage import usage

FITTED_RECIPE = "recipe.yaml"


@dataclass(frozen=True, repr=False)
class Fitted:
    """A fine-tuned model and how it came to be."""

    module: nn.Module
    """In eval mode, with the weights of the best evaluation."""
    recipe: Recipe
    """As run: lengths end at the evaluation that was kept."""
    objective: Objective
    value: float
    """The metric on the validation split."""
    metrics: Mapping[str, float]
    """All metrics on the validation split."""
    test: Mapping[str, float] | None
    """All metrics on the test split; None without one."""
    classes: tuple[str, ...]
    about: Mapping[str, Any]
    """How the model is used: what `save` writes into the head of its file."""
    curve: Curve
    reproduced: bool | None
    """Whether the value equals the one in the recipe's provenance exactly; None without one to compare with."""
    notes: tuple[str, ...]
    """Sentences about data and weights."""
    warnings: tuple[str, ...]
    """What the caller may not expect: other data than the recipe's, a stage that diverged."""

    def __repr__(self) -> str:
        """The model, and what it is worth."""
        metric = self.objective.metric
        test = f", {self.test[metric]:.4g} on test" if self.test else ""
        return f"Fitted({self.recipe.model.name}: {metric} {self.value:.4g} on validation{test})"

    @property
    def predictor(self) -> Predictor:
        """Predicts new items with `module`."""
        return Predictor.of(self.module, self.about)

    def save(self, folder: str | Path) -> None:
        """Write the recipe and the weights (safetensors) into a folder."""
        self.recipe.save(Path(folder) / FITTED_RECIPE)
        save_model(self.module, Path(folder) / FITTED_MODEL, self.about)


def fine_tune(
    recipe: Recipe,
    data: Data,
    *,
    model: "Model | None" = None,
    metric: GivenMetric | None = None,
    report: Callable[[Evaluation], Decision] | None = None,
    device: str | None = None,
    reuse: bool = True,
) -> Fitted:
    """Run a recipe; on the CPU the same recipe, data and seed give the same bits.

    Args:
        recipe: for example ``Recipe.load("best_recipe.yaml")``.
        data: as for `autoft.search`.
        model: the nn.Module that the recipe was found for, if it was not a timm model.
        metric: what the best evaluation is chosen by, as for `autoft.search`; default: the recipe's, else the task's.
        report: called with every evaluation; a decision that does not continue ends the run.
        device: default: cuda where there is one.
        reuse: whether activations of frozen layers are kept on disk where that pays; on the CPU it changes no result.

    Raises:
        ConfigError: what was given is no recipe, or no device of this machine.
        DivergedError: the training diverged before any evaluation gave a number.
        AutoftError: as `autoft.search`, for recipe, model and data.
    """
    _check_given(recipe, model, device)
    provenance = recipe.provenance
    decides = [asked] if (asked := metric or (provenance and provenance.metric)) else []
    ground = lay_ground(recipe, data, module=own_module(model), metrics=decides, notify=_say_nothing)
    notes = list(ground.notes)
    warnings = _differences(provenance, ground.data.fingerprint)
    recipe, device = ground.recipe, device or ("cuda" if torch.cuda.is_available() else "cpu")
    if recipe.optimisation.memory_format == "auto":
        recipe = recipe.override({"optimisation.memory_format": _memory_format(ground, device)})
    objective = ground.data.task.objective(*decides)
    fitted = fit(
        recipe,
        ground.loaded,
        ground.data,
        objective,
        device=device,
        report=report or go_on,
        test=True,
        cache=ActivationCache(reuse_of(), ground.data, notes.append) if reuse else None,
    )
    best = fitted.trial.best
    if fitted.trial.diverged:
        warnings.append(_divergence(fitted.trial))
    if not fitted.trial.weights:
        raise DivergedError(f"{warnings[-1]}; lower its rates")
    told = Provenance(
        search=provenance.search if provenance else None,
        trial=provenance.trial if provenance else None,
        metric=objective.metric,
        value=best.value,
        data_fingerprint=ground.data.fingerprint,
        threads=fitted.threads,
        versions=versions(),
    )
    comparable = provenance is not None and provenance.metric == objective.metric
    return Fitted(
        module=ground.loaded.module,
        recipe=fitted.trial.recipe.model_copy(update={"provenance": told}),
        objective=objective,
        value=best.value,
        metrics=best.metrics,
        test=fitted.test,
        classes=ground.data.task.classes,
        about=usage(ground.loaded, ground.data, recipe.data),
        curve=fitted.trial.curve,
        reproduced=best.value == provenance.value if comparable and provenance else None,
        notes=tuple(notes),
        warnings=tuple(warnings),
    )


def _differences(provenance: Provenance | None, data_fingerprint: str) -> list[str]:
    """Why the recipe's value may not be reproduced."""
    found = []
    if provenance and provenance.data_fingerprint != data_fingerprint:
        found.append("these are not the data that the recipe was found on: its value will not be reproduced")
    if provenance and provenance.workers > 1:
        found.append(
            f"the recipe was found by {provenance.workers} processes that shared each batch, and is run by one: its "
            "value is reproduced within rounding, or not at all where norms train or dropout is used"
        )
    return found


def _memory_format(ground: Ground, device: str) -> MemoryFormat:
    """The faster one; for a recipe that was run before formats were chosen, the one that all had then."""
    if ground.recipe.provenance:
        return "contiguous"
    try:
        return faster_format(measurements_of(ground, device), torch.get_num_threads())
    except MeasurementError:  # a model that does not run says so where it is trained
        return "contiguous"


def _divergence(trial: TrialResult) -> str:
    last = trial.curve[-1]
    kept = f"; the weights of stage {trial.best.stage} are kept" if trial.weights else ""
    return f"stage {last.stage} diverged: {last.diverged}{kept}"


def _say_nothing(_text: str) -> None:
    """Progress is of no use to a caller who waits for the result."""


def _check_given(recipe: Any, model: Any, device: str | None) -> None:
    if not isinstance(recipe, Recipe):
        raise ConfigError(
            f"recipe: must be a Recipe, got {type(recipe).__name__}; give autoft.Recipe.load(PATH), or a result's "
            "best_recipe"
        )
    if device is not None:
        check_device(device)
    if model is not None and model_name(model) != recipe.model.name:
        raise UnknownNameError(
            f"model: the recipe was found for {recipe.model.name!r}, got {model_name(model)!r}; "
            "give the model that it names, or change the recipe's model.name"
        )
