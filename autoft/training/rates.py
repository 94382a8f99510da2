"""The learning rate range test (Smith 2017, arXiv 1506.01186): at which rate training breaks, by how deep it goes."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.optim import Optimizer

from autoft.data import Task
from autoft.model import LoadedModel, Manner, apply_plan, plan_stage, set_eval
from autoft.recipe import Recipe
from autoft.training.forward import Forward
from autoft.training.optim import build_optimizer

STEPS, ROWS = 16, 32
"""Of a test, and items: the same in each step, so that nothing but the rate makes the loss rise."""
_LOWEST, _HIGHEST = 1 / 30, 30.0
"""First and last rate, as multiples of the stage's own."""
_BROKEN = 0.5
"""Rise of the loss above its lowest, as a share of the best constant predictor's, that ends the test."""


@dataclass(frozen=True)
class RangeTest:
    """Raises the backbone's rate from step to step, with running statistics and without dropout, until the loss rises.

    Few and growing steps break later than many equal ones: a rate above what is found is too high, one below it need
    not be low enough. The head keeps its own rate. The first rates are far below the stage's: Adam's first steps are as
    large as the rate whatever the gradients, and would be taken for a break.
    """

    recipe: Recipe
    """Its last stage is tested."""
    task: Task
    constant_loss: float
    """Of the best constant predictor."""
    manner: Manner
    should_stop: Callable[[], bool] = lambda: False

    def limit(self, loaded: LoadedModel, boundary: int, rows: Tensor, targets: Tensor) -> float | None:
        """The last rate before the one at which the loss rises when all above ``boundary`` trains; None if none does.

        Args:
            loaded: a model of its own for the test, on its device, with the head to start from; it is changed.
            boundary: groups that stay frozen, at least 1.
            rows: activations at the boundary (B, ...).
            targets: of the same items.
        """
        stage = self.recipe.stages[-1].model_copy(update={"unfreeze": loaded.card.depth - boundary, "norm": "eval"})
        assert stage.lr is not None, "the recipe is complete"
        plan = plan_stage(stage, loaded)
        apply_plan(plan, loaded)
        set_eval(loaded)
        optimizer = build_optimizer(self.recipe.optimisation, stage, plan, loaded)
        head = {loaded.module.get_parameter(name) for name in loaded.groups[-1].parameters}
        backbone = [group for group in optimizer.param_groups if head.isdisjoint(group["params"])]
        forward, rates, lowest = Forward(loaded, boundary, self.manner), list[float](), math.inf
        for step in range(STEPS + 1):
            loss = self.task.loss(forward.tail(rows), targets).mean()
            now = float(loss.detach())
            if not now <= lowest + _BROKEN * self.constant_loss:
                return rates[max(0, len(rates) - 2)] if rates else None
            if step == STEPS or self.should_stop():
                break
            factor = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (STEPS - 1))
            lowest, rates = min(lowest, now), [*rates, stage.lr * factor]
            for group in backbone:
                group["lr"] = group["initial_lr"] * factor
            self._step(loss, optimizer)
        return None

    def _step(self, loss: Tensor, optimizer: Optimizer) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_(trained, self.recipe.optimisation.clip_grad or math.inf)
        optimizer.step()
