"""A worker: one process that runs trial after trial, knowing neither Ray nor the study.

It is driven by `Worker.begin` and `Worker.step`; what it knows of the search came once, in a `WorkerContext`.
"""

import os
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from autoft.cache import ActivationCache, Reuse
from autoft.data import DataHandle
from autoft.data.folds import held_out
from autoft.errors import StorageError
from autoft.files import patiently, write_text
from autoft.model import LoadedModel, load_model
from autoft.recipe import ModelConfig, Recipe
from autoft.record import Curve, Evaluation, Objective
from autoft.training import StagedTrainer, StageTree
from autoft.tuner.confirmation.runs import keep_outcome


@dataclass(frozen=True, slots=True)
class Confirming:
    """Where confirmation runs are kept, and what they are drawn from."""

    folder: Path
    """Of the runs' folders."""
    seed: int
    """Of the study: folds are drawn from it."""
    deadline: float | None
    """Seconds since the epoch at which they stop training."""


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
    deadline: float | None
    """Seconds since the epoch at which trials stop training."""
    reuse: Reuse | None = None
    """Where activations are kept; None computes them each time."""
    stages: Path | None = None
    """Folder of the results of stages that trials share; None runs every stage."""
    companions: tuple[Recipe, ...] = ()
    """Recipes whose opening head stages are likely to be asked for."""
    confirming: Confirming | None = None
    """None where nothing is confirmed."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says after a step."""

    evaluations: Curve = ()
    """The newest: one, or all of a stage that the trial forked from."""
    done: bool = False
    """The trial has run all of its stages, or diverged."""
    out_of_time: bool = False
    crash: str | None = None
    """Type and message of an unexpected error; the traceback is in the trial's folder."""
    refused: str | None = None
    """What the storage said that the trial cannot do without: no fault of the trial."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the search's result."""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "evaluations": [evaluation.plain() for evaluation in self.evaluations],
            "done": self.done,
            "out_of_time": self.out_of_time,
            "crash": self.crash,
            "refused": self.refused,
            "notes": list(self.notes),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Report":
        """The inverse of `plain`."""
        return cls(
            evaluations=tuple(Evaluation.from_plain(evaluation) for evaluation in plain["evaluations"]),
            done=plain["done"],
            out_of_time=plain["out_of_time"],
            crash=plain["crash"],
            refused=plain["refused"],
            notes=tuple(plain["notes"]),
        )


class Worker:
    """Runs one trial at a time; context, base model and data are opened once, with the first trial.

    Args:
        open_context: gives the context; what it raises is told as the trial's crash.
    """

    def __init__(self, open_context: Callable[[], WorkerContext]) -> None:
        self._open_context = open_context
        self._context: WorkerContext | None = None
        self._base: tuple[int, LoadedModel] | None = None
        """The seed of its head, and the model."""
        self._cache: ActivationCache | None = None
        self._tree: StageTree | None = None
        self._notes: list[str] = []
        self._trainer: StagedTrainer | None = None
        self._untold: Curve = ()
        self._folder: Path | None = None
        self._held_out: DataHandle | None = None
        """The data of a confirmation run."""
        self._failed = Report()

    def begin(self, number: int, recipe: Mapping[str, Any], *, known: int = 0, run: int | None = None) -> None:
        """Take up a trial: from its checkpoint if it has one, else from the pretrained weights.

        Evaluations of the checkpoint beyond the ``known`` first ones are told again: a driver that was killed may
        not have heard of them. ``run`` makes it a confirmation run: with its held-out items, in a folder of its own.
        """
        if self._trainer:
            self._trainer.close()
        self._trainer, self._untold, self._failed, self._held_out = None, (), Report(), None
        try:
            context = self._context = self._context or self._open_context()
            torch.set_num_threads(context.threads)
            confirming = context.confirming if run is not None else None
            self._folder = (confirming.folder if confirming else context.trials) / f"{number:04d}"
            if confirming and run is not None:
                self._held_out = held_out(context.data, run, seed=confirming.seed)
            patiently(partial(write_text, self._folder / "worker_pid", f"{os.getpid()}\n"))
            self._trainer = self._build(Recipe.parse(recipe, where=f"trial {number}"), context, self._folder)
            self._untold = self._trainer.curve[known:]
        except Exception as error:  # noqa: BLE001 - the trial boundary
            self._failed = self._crashed(error)

    def step(self) -> Report:
        """Train to the next evaluation and save the trial's state."""
        if self._trainer is None or self._folder is None:
            return self._failed
        try:
            report = self._next(self._trainer, self._folder)
            if report.done and not report.out_of_time and self._held_out and self._context:
                keep_outcome(self._trainer, self._held_out, self._context.objective, self._folder)
        except Exception as error:  # noqa: BLE001 - the trial boundary
            report = self._crashed(error)
        told, self._notes[:] = tuple(self._notes), []
        return replace(report, notes=told)

    def _next(self, trainer: StagedTrainer, folder: Path) -> Report:
        if self._untold:
            untold, self._untold = self._untold, ()
            return Report(evaluations=untold, done=trainer.done)
        return _advance(trainer, folder)

    def _build(self, recipe: Recipe, context: WorkerContext, folder: Path) -> StagedTrainer:
        confirming = context.confirming if self._held_out else None
        base = self._loaded(context, recipe.seed if confirming else context.seed)
        deadline = confirming.deadline if confirming else context.deadline
        if self._cache is None and context.reuse:
            self._cache = ActivationCache(context.reuse, context.data, self._notes.append)
        if self._tree is None and context.stages:
            self._tree = StageTree(context.stages, companions=context.companions, notify=self._notes.append)
        trainer = StagedTrainer(
            recipe,
            base,
            self._held_out or context.data,
            context.objective,
            device=context.device,
            should_stop=lambda: deadline is not None and time.time() >= deadline,
            cache=self._cache,
            tree=self._tree,
            fresh=lambda: base.reset(drop_rate=recipe.model.drop_rate, drop_path_rate=recipe.model.drop_path_rate),
        )
        trainer.restore(folder / "checkpoint")
        return trainer

    def _loaded(self, context: WorkerContext, seed: int) -> LoadedModel:
        """The model with the head that ``seed`` draws; a confirmation run has one of its own."""
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

    def _crashed(self, error: Exception) -> Report:
        self._trainer = None
        text = f"{type(error).__name__}: {error}".strip().rstrip(":")
        refused = isinstance(error, StorageError)
        self._failed = Report(refused=str(error), done=True) if refused else Report(crash=text, done=True)
        with suppress(StorageError):  # the disk that refuses this is most likely the cause that is told
            if self._folder:
                write_text(self._folder / "error.txt", traceback.format_exc())
        return self._failed


def _advance(trainer: StagedTrainer, folder: Path) -> Report:
    if trainer.done:
        return Report(done=True)
    evaluations = trainer.advance()
    if not evaluations:
        return Report(out_of_time=True, done=True)
    patiently(lambda: trainer.save(folder / "checkpoint"))
    return Report(evaluations=evaluations, done=trainer.done)
