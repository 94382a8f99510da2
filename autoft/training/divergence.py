"""Is this training still a training: a watch over loss, gradient norm and growth of the weights.

Fed with the plain loss (no smoothing, mixed targets as they are) and the gradient norm before clipping,
each before the optimizer step, so that what is not finite never reaches a weight.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any

_MARGIN = 0.5
"""Nats above the best constant predictor's loss at which a step counts as lost (engine.md section 5)."""
_SLOW_STEPS = 50
"""So many steps in a row with the running loss above the margin are a divergence, after warm-up."""
_FAST_STEPS = 4
_FAST_AREA, _FAST_AREA_SQUARED = 400.0, 25.0
"""At least so many steps in a row above the margin, with so many nat-steps between, are one at any time.

Measured on a linear head over the pooled features of tf_efficientnet_lite0: a head rate of 3e-2 overshoots by
26 nat-steps and recovers, 0.1 by 270, 1e3 by 3e5 in its first two steps. A squared loss grows slower: see
`DivergenceWatch`."""
_SMOOTHING = 0.1
_CAP = 5.0
"""Nats above the margin that one step may add to the running loss, so that a single spike does not linger."""
_LOST, _LOST_SQUARED = 400.0, 4.0
"""Nats above the reference at which an evaluation alone is enough, where the training had no steps to tell."""
_EXPLOSION, _EXPLODED_STEPS = 1e3, 3
_WINDOW, _LEAST_NORMS = 50, 8
_GROWTH, _HEAD_GROWTH = 10.0, 100.0
"""Growth of a layer group's norm within a stage that training does not survive, if the loss agrees.

With bounded activations (ReLU6 in tf_efficientnet_lite0) a rate of 1e3 leaves the loss at some ten nats, no more than
a head that overshoots and recovers. But the backbone's weights have then grown 1e4-fold with AdamW and 15-fold with
clipped SGD (3-fold at 0.1), and a head that overshoots at 3e-2 has grown 7-fold."""


class DivergenceWatch:
    """Tells a diverging training in one sentence.

    Args:
        constant_loss: mean loss of the best constant predictor on the training targets.
        squared: whether the loss is a squared error; its distance is then measured as that of two Gaussian
            likelihoods, ``0.5 * log(loss / constant_loss)`` nats, whatever the targets' unit.
    """

    def __init__(self, constant_loss: float, *, squared: bool = False) -> None:
        self._constant = constant_loss
        self._squared = squared
        self._start: float | None = None
        self._running = 0.0
        self._slow = 0
        self._fast = 0
        self._area = 0.0
        self._norms: list[float] = []
        self._exploded = 0
        self._steps = 0

    def new_stage(self) -> None:
        """Forget what a stage with other weights and rates had; the loss the trial began with stays."""
        self._slow = self._fast = self._exploded = self._steps = 0
        self._running = self._area = 0.0
        self._norms = []

    def loss(self, value: float, *, warming_up: bool) -> str | None:
        """Take the plain loss of a step, before its backward pass.

        Returns:
            why this is a divergence, or None.
        """
        if not math.isfinite(value):
            return f"the training loss is {value}"
        excess = self._excess(value)
        if self._start is None:
            # What the untrained model has is where the training starts from, not where it went.
            self._start = max(0.0, excess)
        above = excess - self._start - _MARGIN
        self._steps += 1
        self._fast, self._area = (self._fast + 1, self._area + above) if above > 0 else (0, 0.0)
        self._running += _SMOOTHING * (min(above, _CAP) - self._running)
        self._slow = self._slow + 1 if self._running > 0 and not warming_up else 0
        area = _FAST_AREA_SQUARED if self._squared else _FAST_AREA
        if self._fast >= _FAST_STEPS and self._area >= area:
            return self._told(value, self._fast)
        if self._slow >= _SLOW_STEPS:
            return self._told(value, self._slow)
        return None

    def validation(self, value: float) -> str | None:
        """Take the loss of an evaluation: it tells what an epoch of few steps cannot.

        Batch statistics may lag behind and spoil it while the training is sound, so where the training has
        something to say, it must agree.

        Returns:
            why this is a divergence, or None.
        """
        if not math.isfinite(value):
            return f"the validation loss is {value}"
        if self._steps > _FAST_STEPS and not self._fast:
            return None
        if self._excess(value) - (self._start or 0.0) < (_LOST_SQUARED if self._squared else _LOST):
            return None
        return f"the validation loss is {value:.3g}, the best constant predictor has {self._constant:.3g}"

    def gradient(self, norm: float) -> str | None:
        """Take the gradient's norm, before clipping and before the optimizer step.

        Returns:
            why this is a divergence, or None.
        """
        if not math.isfinite(norm):
            return f"the gradient norm is {norm}"
        usual = 1.0
        if norm > _EXPLOSION:  # below it, it cannot be so many times a median of at least 1
            usual = max(1.0, statistics.median(self._norms)) if len(self._norms) >= _LEAST_NORMS else math.inf
        if norm <= _EXPLOSION * usual:
            self._exploded = 0
            self._norms = [*self._norms[1 - _WINDOW :], norm]
            return None
        self._exploded += 1
        if self._exploded < _EXPLODED_STEPS:
            return None
        return (
            f"the gradient norm exploded: {norm:.3g}, more than {_EXPLOSION:g} times its running median "
            f"{usual:.3g} in {self._exploded} steps in a row"
        )

    def state(self) -> dict[str, Any]:
        """All that the watch remembers, as plain data."""
        return {name: value for name, value in vars(self).items() if name not in {"_constant", "_squared"}}

    def load(self, state: Mapping[str, Any]) -> None:
        """Continue from `state`."""
        vars(self).update(state)

    def weights(self, *, head: float, backbone: float, mean_loss: float) -> str | None:
        """Take how many times their norm at the stage's start the weights have now, and the mean loss of late.

        Args:
            head: growth of the head.
            backbone: growth of the backbone group that has grown most.
            mean_loss: plain training loss since the evaluation before.

        Returns:
            why this is a divergence, or None.
        """
        if (head <= _HEAD_GROWTH and backbone <= _GROWTH) or self._excess(mean_loss) <= (self._start or 0.0):
            return None
        what, growth = ("backbone", backbone) if backbone > _GROWTH else ("head", head)
        return (
            f"the weights of the {what} have grown {growth:.3g}-fold, and the training loss, {mean_loss:.3g}, is above "
            f"the best constant predictor's {self._constant:.3g}"
        )

    def _excess(self, value: float) -> float:
        if not self._squared:
            return value - self._constant
        tiny = 1e-12
        return 0.5 * math.log(max(value, tiny) / max(self._constant, tiny))

    def _told(self, value: float, steps: int) -> str:
        return (
            f"the training loss has been above the best constant predictor's {self._constant:.3g} for {steps} "
            f"steps and is now {value:.3g}"
        )
