"""What a stage of a trial works with, and what every way of running one can do."""

import math
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from autoft.data import DataHandle
from autoft.model import FreezePlan, LoadedModel
from autoft.recipe import Recipe, Stage
from autoft.record import Evaluation, Objective
from autoft.training.divergence import DivergenceWatch
from autoft.training.feed import Batch, Feed
from autoft.training.forward import Forward
from autoft.training.lengths import length_in_steps
from autoft.training.ranks import ALONE, Ranks
from autoft.training.schedule import cooled
from autoft.training.snapshot import Snapshot
from autoft.training.source import Source

ShouldStop = Callable[[], bool]


@dataclass(frozen=True)
class Ground:
    """A stage, and all that it stands on."""

    recipe: Recipe
    index: int
    """The stage's place in the recipe."""
    plan: FreezePlan
    touched: frozenset[int]
    """Groups that it or a stage before it trains; only they can differ from the base."""
    deeper: bool
    """Whether it unfreezes what the stage before it did not train: its first evaluation is then a warm-up."""
    loaded: LoadedModel
    data: DataHandle
    objective: Objective
    device: torch.device
    feed: Feed
    steps_per_epoch: int
    class_weights: Tensor | None
    watch: DivergenceWatch
    """Of the trial."""
    forward: Forward
    train_source: Source
    val_source: Source
    ranks: Ranks = ALONE
    """Who trains it together; a stage of the head alone is rank 0's."""
    micro_batch: int | None = None
    """Most rows of a rank that go through the model at once in training; gradients of the parts are added up."""
    beside: float | None = None
    """Decay of an average of the weights that is kept beside them, and changes nothing; None: none is kept."""

    @property
    def stage(self) -> Stage:
        """The stage."""
        return self.recipe.stages[self.index]

    @property
    def length(self) -> int:
        """In optimizer steps."""
        return length_in_steps(self.stage, self.steps_per_epoch)

    @property
    def evaluates_every(self) -> int:
        """Optimizer steps between evaluations."""
        return self.recipe.optimisation.eval_every_steps or self.steps_per_epoch

    def evaluation(
        self,
        *,
        stage: Stage,
        index: int,
        step: int,
        metrics: Mapping[str, float],
        train_loss: float,
        saved_s: float,
        diverged: str | None,
    ) -> Evaluation:
        """An evaluation of this stage, or of one that runs beside it; ``index`` counts from 1 with the stage."""
        return Evaluation(
            index=index,
            stage=stage.name,
            epoch=step / self.steps_per_epoch,
            step=step,
            value=math.nan if diverged else metrics[self.objective.metric],
            train_loss=train_loss,
            val_loss=metrics.get("loss", math.nan),
            metrics=metrics,
            saved_s=saved_s,
            reused=self.train_source.name or self.val_source.name,
            cooled=cooled(stage, step, length_in_steps(stage, self.steps_per_epoch)),
            warming_up=step <= stage.warmup_steps or (self.deeper and index == 1),
            diverged=diverged,
        )


class Engine(Protocol):
    """A stage that runs, from one evaluation to the next."""

    @property
    def over(self) -> bool:
        """Whether the stage has reached its length or lost its patience."""
        ...

    @property
    def best(self) -> Snapshot | None:
        """The stage's best evaluation so far; its index counts with the stage."""
        ...

    def advance(self, should_stop: ShouldStop) -> Evaluation | None:
        """Train to the next evaluation; None when ``should_stop`` said so."""
        ...

    def close(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """End the stage with weights, buffers and optimizer state of its best evaluation.

        Returns:
            all parameters and buffers of the groups that it or a stage before it trains, and the optimizer's state, for
            the next stage to carry on.

        Raises:
            FreezeError: a freezing law was broken.
        """
        ...

    def let_go(self) -> None:
        """Stop what runs beside the training: the reading ahead."""
        ...

    def sections(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint: ``now``, ``average``, ``optimizer``, ``stage_best`` and its optimizer's."""
        ...

    def facts(self) -> dict[str, Any]:
        """The rest of it, as plain data."""
        ...

    def load(
        self, sections: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], best: Snapshot | None
    ) -> None:
        """Continue from them, on a stage that was opened on ``now``."""
        ...


class Batches:
    """A rank's part of the batches of a stage, epoch after epoch."""

    def __init__(self, ground: Ground, ranks: Ranks = ALONE) -> None:
        self._ground, self._ranks = ground, ranks
        self._open: Generator[Batch, None, None] | None = None

    def next(self, stage_step: int) -> Batch:
        """The batch of a step of the stage (0 for the first)."""
        epoch, step = divmod(stage_step, self._ground.steps_per_epoch)
        if self._open is None or step == 0:
            self.close()
            feed, source, stage = self._ground.feed, self._ground.train_source, self._ground.stage.name
            self._open = feed.batches(source, stage, epoch, start=step, ranks=self._ranks)
        return next(self._open)

    def close(self) -> None:
        """Stop reading ahead."""
        if self._open is not None:
            self._open.close()
            self._open = None
