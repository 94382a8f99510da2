"""A stage that trains the head alone in one go: the features are fixed, so its best weights are a convex problem's."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from autoft.data.metrics import Array
from autoft.model import FreezeGuard, LinearHead, in_micro_batches, set_eval
from autoft.recipe.schema import PENALTY
from autoft.record import Evaluation
from autoft.training.engine import Ground, ShouldStop
from autoft.training.heads import features_of
from autoft.training.linear import solve_linear
from autoft.training.snapshot import Snapshot, copy_of


class SolveStage:
    """An `autoft.training.engine.Engine` that has one evaluation: that of the solution (`solve_linear`).

    Linear probing as the first step of LP-FT (arXiv 2202.10054), taken to its end.

    Args:
        ground: the stage; its model is only read, up to the head.
        head: of the model.
        weights: of the head, as they are until it is solved for; the solution does not depend on them.
    """

    def __init__(self, ground: Ground, head: LinearHead, weights: Mapping[str, Tensor]) -> None:
        self._ground, self._head = ground, head
        self._weights: Mapping[str, Tensor] = {name: tensor.cpu() for name, tensor in copy_of(weights).items()}
        self.best: Snapshot | None = None
        """Its only evaluation."""
        set_eval(ground.loaded)
        # Where features are read, no module runs.
        self._guard = None if ground.val_source.name else FreezeGuard(ground.plan, ground.loaded)

    @property
    def over(self) -> bool:
        """Whether it is solved."""
        return self.best is not None

    def advance(self, should_stop: ShouldStop) -> Evaluation | None:
        """Solve and evaluate."""
        ground, data = self._ground, self._ground.data
        train = self._features(data.splits.train, should_stop)
        val = None if train is None else self._features(data.splits.val, should_stop)
        if train is None or val is None:
            return None
        targets, loss, metrics = data.targets[data.splits.train], math.nan, dict[str, float]()
        if train.isfinite().all():
            self._weights = self._solved(train.numpy(), targets)
            loss = float(data.task.loss(self._outputs(train), torch.from_numpy(targets)).mean())
            metrics = data.task.metrics(self._outputs(val), data.targets[data.splits.val])
        diverged = self._diverged(loss, metrics)
        evaluation = ground.evaluation(
            stage=ground.stage,
            index=1,
            step=ground.length,
            metrics={} if diverged else metrics,
            train_loss=loss,
            saved_s=ground.val_source.saved_s(len(train)) + ground.val_source.saved_s(len(val)),
            diverged=diverged,
        )
        if not diverged:
            self.best = Snapshot(evaluation, self._weights, {})
        return evaluation

    def close(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """End the stage; no optimizer has been at work, so there is no state of one."""
        if self._guard:
            self._guard.check()
        return dict(self._weights), {}

    def let_go(self) -> None:
        """Nothing runs beside it."""

    def sections(self) -> dict[str, Mapping[str, Tensor]]:
        """The tensors of a checkpoint."""
        return {"now": self._weights, "average": self._weights, "optimizer": {}, "stage_best_optimizer": {}}

    def facts(self) -> dict[str, Any]:
        """The rest of a checkpoint: nothing, for it is either not begun or over."""
        return {}

    def load(
        self, sections: Mapping[str, Mapping[str, Tensor]], facts: Mapping[str, Any], best: Snapshot | None
    ) -> None:
        """Begin."""

    def _features(self, indices: Array, should_stop: ShouldStop) -> Tensor | None:
        """(len(indices), F), float32 on the CPU; None when ``should_stop`` said so."""
        found = []
        for rows in features_of(self._ground, indices):
            if should_stop():
                return None
            found.append(rows.cpu())
        return torch.cat(found)

    def _solved(self, features: Array, targets: Array) -> dict[str, Tensor]:
        ground, head = self._ground, self._head
        weight, bias = solve_linear(
            ground.data.task,
            features,
            targets,
            penalty=ground.stage.penalty or PENALTY,
            class_weights=self._class_weights(targets),
            with_bias=head.bias is not None,
        )
        found = {head.weight: torch.from_numpy(weight).float()}
        return found if head.bias is None else {**found, head.bias: torch.from_numpy(bias).float()}

    def _diverged(self, loss: float, metrics: Mapping[str, float]) -> str | None:
        """What is no number is told as in a stage that takes steps."""
        watch = self._ground.watch
        if not math.isfinite(loss):
            return watch.loss(loss, warming_up=False)
        return None if math.isfinite(metrics["loss"]) else watch.validation(metrics["loss"])

    def _class_weights(self, targets: Array) -> Array | None:
        """The recipe's; a balanced sampler's draws count as often as it draws them."""
        ground = self._ground
        found: Array | None = None if ground.class_weights is None else ground.class_weights.cpu().numpy()
        if ground.recipe.data.sampler == "balanced":
            drawn: Array = ground.data.task.class_weights(targets).numpy()
            found = drawn if found is None else found * drawn
        return found

    def _outputs(self, features: Tensor) -> Tensor:
        bias = None if self._head.bias is None else self._weights[self._head.bias]
        weight = self._weights[self._head.weight]
        return in_micro_batches(lambda part: functional.linear(part["rows"], weight, bias), {"rows": features})
