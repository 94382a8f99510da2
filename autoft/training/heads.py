"""A stage that trains the head alone: always in the fused trainer, with or without companions.

Companions are head stages that other trials of the search will ask for: they differ in rates and regularisation, see
the same batches, and cost next to nothing beside the one that is asked for.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoft.data.feed import read_ahead
from autoft.data.metrics import Array
from autoft.errors import ModelError
from autoft.model import MICRO_BATCH, FreezeGuard, LinearHead, micro_batches, set_eval
from autoft.recipe import Recipe, Stage
from autoft.record import Evaluation
from autoft.training.divergence import DivergenceWatch
from autoft.training.engine import Batches, Ground, ShouldStop
from autoft.training.fused import FusedHeads, HeadSettings, HeadState
from autoft.training.lengths import length_in_steps
from autoft.training.optim import exempt_from_decay, group_rate, weight_decay_of
from autoft.training.schedule import rate_factor
from autoft.training.snapshot import Snapshot
from autoft.training.tree import StageResult


@dataclass(eq=False)
class _Lane:
    """One head on its way."""

    recipe: Recipe
    stage: Stage
    length: int
    watch: DivergenceWatch
    norm_at_start: float = 0.0
    step: int = 0
    told: int = 0
    stale: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    saved_s: float = 0.0
    best: Snapshot | None = None
    curve: tuple[Evaluation, ...] = ()
    end: HeadState | None = None
    """As it was when it left the fused trainer."""
    over: bool = False


@dataclass(frozen=True)
class Companion:
    """A head stage to be run beside, and who is told of its result."""

    recipe: Recipe
    """Its first stage is the one."""
    watch: DivergenceWatch
    tell: Callable[[StageResult], None]
    drop: Callable[[], None]
    """Called when there will be none."""


class HeadStage:
    """An `autoft.training.engine.Engine` for heads that are one linear layer.

    Args:
        ground: the stage; its model is only read, up to the head.
        head: of the model.
        weights: of the head, that it starts from.
        carried: optimizer state of the stage before.
        companions: of equal `batches_of`; they start from the same weights.
    """

    def __init__(
        self,
        ground: Ground,
        head: LinearHead,
        weights: Mapping[str, Tensor],
        carried: Mapping[str, Tensor],
        companions: Sequence[Companion] = (),
    ) -> None:
        self._ground, self._head = ground, head
        self._exempt = head.weight in exempt_from_decay(ground.loaded.module)
        start = self._from_tensors(weights, carried)
        own = _Lane(ground.recipe, ground.stage, ground.length, ground.watch)
        others = [
            (_Lane(each.recipe, each.recipe.stages[0], self._length_of(each.recipe), each.watch), each)
            for each in companions
        ]
        self._own = own
        self._companions = {id(lane): companion for lane, companion in others}
        # Heads of one dropout rate lie side by side: they share what dropout leaves of the features.
        self._lanes = sorted([own, *(lane for lane, _ in others)], key=lambda lane: self._settings(lane).drop_rate)
        set_eval(ground.loaded)
        # Where features are read, no module runs.
        self._guard = None if ground.train_source.name else FreezeGuard(ground.plan, ground.loaded)
        self._fused = self._fuse([start] * len(self._lanes))
        for lane, norm in zip(self._lanes, self._fused.norms(), strict=True):
            lane.norm_at_start = norm
        self._batches = Batches(ground)
        self._step = 0

    @property
    def over(self) -> bool:
        """Whether the stage has reached its length or lost its patience."""
        return self._own.over

    @property
    def best(self) -> Snapshot | None:
        """The stage's best evaluation so far."""
        return self._own.best

    def advance(self, should_stop: ShouldStop) -> Evaluation | None:
        """Train to the next evaluation; with the last one the companions are trained to their end."""
        told = self._own.told
        while self._own.told == told or (self._own.over and self._lanes):
            if should_stop():
                return None if self._own.told == told else self._own.curve[-1]
            self._advance_a_step()
        return self._own.curve[-1]

    def close(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """End the stage."""
        self.let_go()
        if self._guard:
            self._guard.check()
        ended = self._ended(self._own)
        return dict(ended.weights), dict(ended.optimizer)

    def let_go(self) -> None:
        """Stop reading ahead, and drop the companions that are not over."""
        self._batches.close()
        for companion in self._companions.values():
            companion.drop()

    def sections(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint."""
        now, best = self._state(self._own), self._own.best
        averaged = self._state(self._own, evaluated=True)
        return {
            "now": self._weights(now),
            "average": self._weights(averaged),
            "optimizer": self._optimizer(now),
            "stage_best": best.weights if best else {},
            "stage_best_optimizer": best.optimizer if best else {},
        }

    def facts(self) -> dict[str, Any]:
        """The rest of a checkpoint."""
        own = self._own
        return {
            "step": own.step,
            "stale": own.stale,
            "norms_at_start": [own.norm_at_start],
            "told": own.told,
            "over": own.over,
            "since": [own.loss_sum, own.loss_count, own.saved_s],
        }

    def load(
        self, sections: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], best: Snapshot | None
    ) -> None:
        """Continue from a checkpoint, without companions."""
        own = self._own
        own.step, own.stale, own.told, own.over = facts["step"], facts["stale"], facts["told"], facts["over"]
        own.best = best
        (own.norm_at_start,) = facts["norms_at_start"]
        own.loss_sum, own.loss_count, own.saved_s = facts["since"]
        own.end = self._from_tensors(sections["now"], sections["optimizer"])
        self._lanes, self._step = ([] if own.over else [own]), own.step
        if self._lanes:
            self._fused = self._fuse([own.end])
            average = self._from_tensors(sections["average"], {})
            self._fused.set_average(0, average.weight, average.bias, steps=own.step)

    def _advance_a_step(self) -> None:
        """One step of all heads, and the evaluations that are due after it."""
        ground = self._ground
        batch = self._batches.next(self._step)
        rows, targets = ground.train_source.rows(batch.found, batch.targets, batch.moment)
        generator = torch.Generator(ground.device).manual_seed(batch.forward_seed)
        losses, norms = self._fused.gradients(_features(rows), targets, generator)
        saved_s = ground.train_source.saved_s(batch.size)
        for lane, loss, norm in zip(list(self._lanes), losses, norms, strict=True):
            lane.loss_sum += loss * batch.size
            lane.loss_count += batch.size
            lane.saved_s += saved_s
            warming_up = lane.step < lane.stage.warmup_steps
            if told := lane.watch.loss(loss, warming_up=warming_up) or lane.watch.gradient(norm):
                self._diverged(lane, told)
        self._leave()
        if not self._lanes:
            return
        self._fused.update([rate_factor(lane.stage, lane.step, lane.length) for lane in self._lanes])
        self._step += 1
        for lane in self._lanes:
            lane.step = self._step
        self._look_at_growth()
        self._evaluate([lane for lane in self._lanes if self._is_due(lane)])
        self._leave()

    def _look_at_growth(self) -> None:
        """At the end of an epoch, and before an evaluation: have the weights blown up?"""
        if self._step % self._ground.steps_per_epoch and not any(self._is_due(lane) for lane in self._lanes):
            return
        grown = self._fused.growth([lane.norm_at_start for lane in self._lanes])
        for lane, growth in zip(list(self._lanes), grown, strict=True):
            if told := lane.watch.weights(head=growth, backbone=1.0, mean_loss=lane.loss_sum / lane.loss_count):
                self._diverged(lane, told)
        self._leave()

    def _is_due(self, lane: _Lane) -> bool:
        return not lane.over and (lane.step % self._ground.evaluates_every == 0 or lane.step >= lane.length)

    def _evaluate(self, due: Sequence[_Lane]) -> None:
        """Evaluate heads on the validation split, and keep the weights of those that are at their best."""
        if not due:
            return
        ground, indices = self._ground, self._ground.data.splits.val
        places = [place for place, lane in enumerate(self._lanes) if lane in due]
        found = ground.data.task.metrics_of_each(self._outputs()[places], ground.data.targets[indices])
        for place, metrics in zip(places, found, strict=True):
            lane = self._lanes[place]
            lane.saved_s += ground.val_source.saved_s(len(indices))
            told = lane.watch.validation(metrics["loss"])
            evaluation = self._told(lane, metrics, diverged=told)
            if told is not None:
                lane.over = True
                continue
            lane.stale += 1
            if ground.objective.prefers(evaluation, lane.best.evaluation if lane.best else None):
                lane.stale = 0
                state = self._fused.state(place, evaluated=True)
                lane.best = Snapshot(evaluation, self._weights(state), self._optimizer(state))
            patience = lane.stage.patience
            lane.over = lane.step >= lane.length or (patience is not None and lane.stale >= patience)

    def _outputs(self) -> Tensor:
        """Of all heads on the validation split, (K, N, C) on the CPU."""
        found = []
        for rows in features_of(self._ground, self._ground.data.splits.val):
            ((_, whole),) = micro_batches({"rows": rows}, len(rows))
            found.append(self._fused.outputs(whole["rows"])[:, : len(rows)].cpu())
        return torch.cat(found, dim=1)

    def _diverged(self, lane: _Lane, told: str) -> None:
        self._told(lane, {}, diverged=told)
        lane.over = True

    def _told(self, lane: _Lane, metrics: Mapping[str, float], *, diverged: str | None) -> Evaluation:
        lane.told += 1
        evaluation = self._ground.evaluation(
            stage=lane.stage,
            index=lane.told,
            step=lane.step,
            metrics=metrics,
            train_loss=lane.loss_sum / max(1, lane.loss_count),
            saved_s=lane.saved_s,
            diverged=diverged,
        )
        lane.curve = (*lane.curve, evaluation)
        lane.loss_sum, lane.loss_count, lane.saved_s = 0.0, 0, 0.0
        return evaluation

    def _leave(self) -> None:
        """Those that are over leave the fused trainer; what companions came to is told."""
        if not any(lane.over for lane in self._lanes):
            return
        for place, lane in enumerate(self._lanes):
            if lane.over:
                lane.end = self._fused.state(place)
        staying = [place for place, lane in enumerate(self._lanes) if not lane.over]
        leaving, self._lanes = [lane for lane in self._lanes if lane.over], [self._lanes[place] for place in staying]
        if staying:
            self._fused.keep(staying)
        for lane in leaving:
            if lane is not self._own:
                self._companions.pop(id(lane)).tell(self._ended(lane))

    def _ended(self, lane: _Lane) -> StageResult:
        """What a head that is over came to: its best, or where it stands if nothing was a number."""
        state = self._state(lane)
        weights = lane.best.weights if lane.best else self._weights(state)
        optimizer = lane.best.optimizer if lane.best else self._optimizer(state)
        return StageResult(lane.curve, weights, optimizer, lane.watch.state())

    def _state(self, lane: _Lane, *, evaluated: bool = False) -> HeadState:
        if lane in self._lanes:
            return self._fused.state(self._lanes.index(lane), evaluated=evaluated)
        assert lane.end is not None
        return lane.end

    def _fuse(self, states: Sequence[HeadState]) -> FusedHeads:
        ground, optimisation = self._ground, self._ground.recipe.optimisation
        return FusedHeads(
            ground.data.task,
            [self._settings(lane) for lane in self._lanes],
            states,
            opt=optimisation.opt,
            momentum=optimisation.momentum,
            class_weights=ground.class_weights,
            device=ground.device,
        )

    def _settings(self, lane: _Lane) -> HeadSettings:
        recipe, stage, optimisation = lane.recipe, lane.stage, lane.recipe.optimisation
        drop_rate = recipe.model.drop_rate if stage.drop_rate is None else stage.drop_rate
        if own := self._head.own_drop_rate:
            drop_rate = 1.0 - (1.0 - own) * (1.0 - drop_rate)
        return HeadSettings(
            rate=group_rate(stage, 0, 1),
            weight_decay=0.0 if self._exempt else weight_decay_of(optimisation, stage),
            drop_rate=drop_rate,
            label_smoothing=optimisation.label_smoothing,
            clip=optimisation.clip_grad or math.inf,
            ema_decay=stage.ema_decay or optimisation.ema_decay,
        )

    def _length_of(self, recipe: Recipe) -> int:
        return length_in_steps(recipe.stages[0], self._ground.steps_per_epoch)

    def _from_tensors(self, weights: Mapping[str, Tensor], optimizer: Mapping[str, Tensor]) -> HeadState:
        weight, bias = self._head.weight, self._head.bias
        kinds = {key.rpartition("//")[2] for key in optimizer if key.startswith(f"{weight}//")} - {"step"}
        moments = {
            kind: (
                optimizer[f"{weight}//{kind}"].cpu(),
                None if bias is None else optimizer[f"{bias}//{kind}"].cpu(),
            )
            for kind in kinds
        }
        steps = int(optimizer[f"{weight}//step"]) if f"{weight}//step" in optimizer else 0
        return HeadState(
            weights[weight].detach().cpu().clone(),
            None if bias is None else weights[bias].detach().cpu().clone(),
            moments,
            steps,
        )

    def _weights(self, state: HeadState) -> dict[str, Tensor]:
        named = {self._head.weight: state.weight}
        return named if state.bias is None or self._head.bias is None else {**named, self._head.bias: state.bias}

    def _optimizer(self, state: HeadState) -> dict[str, Tensor]:
        """As `autoft.training.optim.optimizer_state` has it."""
        adam = "exp_avg" in state.moments
        found: dict[str, Tensor] = {}
        for place, name in enumerate(self._head.names):
            for kind, pair in state.moments.items():
                found[f"{name}//{kind}"] = _present(pair[place])
            if adam:
                found[f"{name}//step"] = torch.tensor(float(state.steps))
        return found


def batches_of(recipe: Recipe, stage: Stage) -> tuple[Any, ...]:
    """What two head stages must have in common to see the same batches and to share an optimizer."""
    one = recipe.optimisation
    shared = (one.opt, one.momentum, one.amp, one.mixup, one.mixup_at, one.boundary_dtype, one.memory_format)
    return (recipe.data, recipe.seed, stage.name, one.eval_every_steps, *shared)


def features_of(ground: Ground, indices: Array) -> Iterator[Tensor]:
    """Features (B, F) of items as they are, at most a micro-batch at a time; the model must be in eval mode.

    Raises:
        ModelError: what reaches the head is not one tensor of features per item.
    """
    parts = np.split(indices, range(MICRO_BATCH, len(indices), MICRO_BATCH))
    for found in read_ahead(parts, ground.val_source.look):
        yield _features(ground.val_source.hidden(found))


def _features(rows: Any) -> Tensor:
    """Rows at the head's boundary as the fused trainer takes them."""
    if not isinstance(rows, Tensor) or rows.dim() != 2:
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise ModelError(f"the features that reach the head must be one tensor (batch, features), got {shape}")
    return rows.float()


def _present(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
