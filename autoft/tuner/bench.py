"""The bench of a worker process: what it keeps open from trial to trial, and the trainers it builds of it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoft.cache import ActivationCache, Reuse
from autoft.data import DataHandle
from autoft.data.folds import held_out
from autoft.model import LoadedModel, load_model
from autoft.recipe import ModelConfig, Recipe
from autoft.record import Objective
from autoft.training import ALONE, Ranks, StagedTrainer, StageTree
from autoft.training.gains import AVERAGED
from autoft.tuner.micro_batches import MicroBatches


@dataclass(frozen=True, slots=True)
class Confirming:
    """Where confirmation runs are kept, and what they are drawn from."""

    folder: Path
    """Of the runs' folders."""
    seed: int
    """Of the study: folds are drawn from it."""


@dataclass(frozen=True, slots=True)
class Work:
    """A trial, or a confirmation run, as a worker takes it up."""

    number: int
    recipe: Mapping[str, Any]
    run: int | None = None
    """Of a confirmation: which of the recipe's runs it is."""
    until: float | None = None
    """Seconds since the epoch at which it stops training."""


@dataclass(frozen=True)
class WorkerContext:
    """What all trials of a search share."""

    model: ModelConfig
    module: nn.Module | None
    """The user's own module; None for a model by name."""
    example: Mapping[str, torch.Tensor]
    image_size: int | None
    seed: int
    data: DataHandle
    objective: Objective
    trials: Path
    """Folder of the trials' folders."""
    threads: int
    device: str
    reuse: Reuse | None = None
    """Where activations are kept; None computes them each time."""
    stages: Path | None = None
    """Folder of the results of stages that trials share; None runs every stage."""
    companions: tuple[Recipe, ...] = ()
    """Recipes whose opening head stages are likely to be asked for."""
    confirming: Confirming | None = None
    """None where nothing is confirmed."""

    @property
    def micro_batches(self) -> MicroBatches:
        """What trials of this search have found to fit into memory."""
        return MicroBatches(self.trials.parent / "micro_batches.json")

    def confirms(self, work: Work) -> Confirming | None:
        """What a confirmation run stands on; None for a trial."""
        return self.confirming if work.run is not None else None

    def folder(self, work: Work) -> Path:
        """Of the trial, or of the confirmation run."""
        confirming = self.confirms(work)
        return (confirming.folder if confirming else self.trials) / f"{work.number:04d}"


class Bench:
    """Context, base model and data, opened with the first trial.

    Args:
        open_context: gives the context; what it raises is told as the trial's crash.
        base: the model, where this process has it already.
    """

    def __init__(self, open_context: Callable[[], WorkerContext], base: LoadedModel | None = None) -> None:
        self.notes: list[str] = []
        """Sentences that belong to the search's result."""
        self._open_context = open_context
        self._context: WorkerContext | None = None
        self._base: tuple[int, LoadedModel] | None = (base.seed, base) if base else None
        """The seed of its head, and the model."""
        self._cache: ActivationCache | None = None
        self._tree: StageTree | None = None

    @property
    def context(self) -> WorkerContext:
        """What all trials share; torch uses its number of threads from then on."""
        if self._context is None:
            self._context = self._open_context()
        torch.set_num_threads(self._context.threads)
        return self._context

    def held_out(self, work: Work) -> DataHandle | None:
        """The data of a confirmation run; None for a trial."""
        confirming = self.context.confirms(work)
        if confirming is None or work.run is None:
            return None
        return held_out(self.context.data, work.run, seed=confirming.seed)

    def trainer(self, work: Work, *, ranks: Ranks = ALONE) -> StagedTrainer:
        """A trainer at the beginning of the trial."""
        context = self.context
        confirming = context.confirms(work)
        recipe = Recipe.parse(work.recipe, where=f"trial {work.number}")
        base = self._loaded(recipe.seed if confirming else context.seed)
        if self._cache is None and context.reuse:
            self._cache = ActivationCache(context.reuse, context.data, self.notes.append)
        if self._tree is None and context.stages:
            self._tree = StageTree(context.stages, companions=context.companions, notify=self.notes.append)
        return StagedTrainer(
            recipe,
            base,
            self.held_out(work) or context.data,
            context.objective,
            device=context.device,
            should_stop=lambda: work.until is not None and time.time() >= work.until,
            cache=self._cache,
            tree=self._tree,
            fresh=lambda: base.reset(drop_rate=recipe.model.drop_rate, drop_path_rate=recipe.model.drop_path_rate),
            ranks=ranks,
            fits=context.micro_batches.of,
            beside=None if confirming else AVERAGED,
        )

    def _loaded(self, seed: int) -> LoadedModel:
        """The model with the head that ``seed`` draws; a confirmation run has one of its own."""
        context = self.context
        if self._base is None or self._base[0] != seed:
            loaded = load_model(
                context.model,
                num_outputs=context.data.task.num_outputs,
                module=context.module,
                example=context.example,
                seed=seed,
                image_size=context.image_size,
            )
            self._base = (seed, loaded)
        return self._base[1]
