"""One stage while it runs: what trains, how far it is, and the best it has had."""

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from autoft.model import FreezeGuard, FreezePlan, LoadedModel, apply_plan, set_eval, set_modes, trainable_names
from autoft.recipe import Optimisation, Stage
from autoft.record import Evaluation, Objective
from autoft.training.ema import WeightAverage
from autoft.training.optim import (
    build_optimizer,
    check_holds_trainable_set,
    load_optimizer_state,
    optimizer_state,
    set_rates,
)
from autoft.training.schedule import rate_factor
from autoft.training.snapshot import Snapshot, copy_of, live_tensors, put_back


class StageRun:
    """A stage, opened on a model that holds the weights the stage starts from.

    Args:
        stage: with its rates known.
        plan: what it trains.
        touched: groups that it or a stage before it trains; only they can differ from the base.
        loaded: the model; its freezing is set here.
        optimisation: of the recipe.
        length: in optimizer steps.
        carried: optimizer state of the stage before, for those parameters that train on.
        followed: whether a stage comes after it, which carries on the optimizer state of the best evaluation.
        beside: decay of an average that is kept beside the weights, and changes nothing; None: none is kept.
    """

    def __init__(  # noqa: PLR0913 - a stage is all of this
        self,
        stage: Stage,
        *,
        plan: FreezePlan,
        touched: Iterable[int],
        loaded: LoadedModel,
        optimisation: Optimisation,
        length: int,
        carried: Mapping[str, Tensor],
        followed: bool = True,
        beside: float | None = None,
    ) -> None:
        self._followed = followed
        self.stage, self.plan, self.length = stage, plan, length
        self.step = 0
        self.stale = 0
        """Evaluations since the best one."""
        self.best: Snapshot | None = None
        self._loaded = loaded
        self._clip = optimisation.clip_grad or math.inf
        apply_plan(plan, loaded)
        self._live = live_tensors(loaded.module, (loaded.groups[place] for place in sorted(touched)))
        self.optimizer = build_optimizer(optimisation, stage, plan, loaded)
        load_optimizer_state(self.optimizer, loaded.module, carried)
        self._parameters = [each for group in self.optimizer.param_groups for each in group["params"]]
        self.average = self._averaging(stage.ema_decay or optimisation.ema_decay)
        self.beside = None if self.average else self._averaging(beside)
        self._guard = FreezeGuard(plan, loaded)
        self.norms_at_start = self._norms()
        self._norm: Literal["train", "eval"] | None = None
        self.check()

    @property
    def warming_up(self) -> bool:
        """Whether the step to come lies within the warm-up."""
        return self.step < self.stage.warmup_steps

    def enter_training(self, batch_size: int) -> None:
        """Set every module's mode for a training step on so many items.

        A single item has no batch statistics worth using, so norms stay in eval for it.
        """
        norm = self.plan.norm if batch_size > 1 else "eval"
        if norm != self._norm:
            set_modes(FreezePlan(self.plan.trainable, norm), self._loaded)
            self._norm = norm

    def enter_evaluation(self) -> None:
        """Set every module to eval."""
        set_eval(self._loaded)
        self._norm = None

    def clip(self) -> float:
        """Clip the gradients.

        Returns:
            their norm before clipping.
        """
        return float(nn.utils.clip_grad_norm_(self._parameters, self._clip))

    def statistics(self) -> dict[str, Tensor]:
        """The running statistics that training changes, not copied."""
        if self.plan.norm == "eval":
            return {}
        names = set(_statistics(self._loaded.module))
        groups = (self._loaded.groups[place] for place in sorted(self.plan.trainable))
        return {name: tensor for name, tensor in live_tensors(self._loaded.module, groups).items() if name in names}

    def update(self) -> None:
        """Take the optimizer's step at the rates of the schedule."""
        set_rates(self.optimizer, rate_factor(self.stage, self.step, self.length))
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        for average in (self.average, self.beside):
            if average:
                average.update(self.step)

    def evaluated(self) -> AbstractContextManager[None]:
        """Within the block the model holds the weights that are evaluated and kept: the average, where there is one."""
        return self.average.in_place() if self.average else nullcontext()

    def take(self, evaluation: Evaluation, objective: Objective) -> None:
        """Keep the model as it is if ``evaluation`` is the stage's best; to be called within `evaluated`."""
        self.stale += 1
        if objective.prefers(evaluation, self.best.evaluation if self.best else None):
            self.stale = 0
            optimizer = self.optimizer_state() if self._followed else {}
            average = copy_of(self.beside.values) if self.beside else {}
            self.best = Snapshot(evaluation, copy_of(self._live), optimizer, average)

    def growth(self) -> tuple[float, float]:
        """How many times the norm at the stage's start the head has now, and the backbone group that grew most."""
        *backbone, head = (now / before for now, before in zip(self._norms(), self.norms_at_start, strict=True))
        return head, max(backbone, default=1.0)

    def _norms(self) -> list[float]:
        """Norm of each group that trains, from input to head."""
        groups = (self._loaded.groups[place] for place in sorted(self.plan.trainable))
        return [_norm([self._live[name] for name in group.parameters]) for group in groups]

    @property
    def over(self) -> bool:
        """Whether the stage has reached its length or lost its patience."""
        patience = self.stage.patience
        return self.step >= self.length or (patience is not None and self.stale >= patience)

    def close(self) -> dict[str, Tensor]:
        """End the stage with the weights, buffers and optimizer state of its best evaluation.

        Returns:
            the optimizer's state, for the next stage to carry on.

        Raises:
            FreezeError: something frozen changed, or the optimizer does not hold exactly the trainable set.
        """
        if self.best:
            put_back(self._loaded.module, self.best.weights)
            load_optimizer_state(self.optimizer, self._loaded.module, self.best.optimizer)
        elif self.average:
            put_back(self._loaded.module, self.average.values)
        self.check()
        return self.optimizer_state()

    def check(self) -> None:
        """Prove the freezing laws.

        Raises:
            FreezeError: one is broken.
        """
        self._guard.check()
        check_holds_trainable_set(self.optimizer, self.plan, self._loaded)

    def weights(self) -> dict[str, Tensor]:
        """All that can differ from the base, not copied."""
        return self._live

    def optimizer_state(self) -> dict[str, Tensor]:
        """A copy of the optimizer's state."""
        return optimizer_state(self.optimizer, self._loaded.module)

    def _averaging(self, decay: float | None) -> WeightAverage | None:
        if decay is None:
            return None
        groups = [self._loaded.groups[place] for place in sorted(self.plan.trainable)]
        buffers = {name for group in groups for name in group.buffers} & set(_statistics(self._loaded.module))
        kept = set(trainable_names(self.plan, self._loaded)) | (buffers if self.plan.norm == "train" else set())
        live = live_tensors(self._loaded.module, groups)
        return WeightAverage({name: tensor for name, tensor in live.items() if name in kept}, decay)


def _norm(tensors: Sequence[Tensor]) -> float:
    """Norm of the tensors together, at least that of values of 0.01: a new head may be zero."""
    squares = sum(float(tensor.detach().double().square().sum()) for tensor in tensors)
    return math.sqrt(max(squares, 1e-4 * sum(tensor.numel() for tensor in tensors), 1e-4))


def _statistics(module: nn.Module) -> Iterable[str]:
    """The running means and variances of normalisation layers; other buffers are constants or counts."""
    for prefix, layer in module.named_modules():
        if isinstance(layer, _NormBase) and layer.track_running_stats:
            for name in ("running_mean", "running_var"):
                yield f"{prefix}.{name}" if prefix else name
