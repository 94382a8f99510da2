"""The course of the learning rate through a stage, a pure function of the step."""

import math

from autoft.recipe import Stage


def rate_factor(stage: Stage, step: int, length_steps: int) -> float:
    """What all rates of ``stage`` are multiplied with at ``step`` (0 for the first).

    Warm-up rises linearly over ``stage.warmup_steps``, to the full rate at the step after it; then the
    schedule falls to zero at ``stage.schedule_steps``, or at the stage's length. Cosine as in
    arXiv 1608.03983, without restarts.

    Args:
        stage: the stage.
        step: optimizer steps of this stage done before this one.
        length_steps: the stage's length in optimizer steps.
    """
    if step < stage.warmup_steps:
        return (step + 1) / (stage.warmup_steps + 1)
    end = stage.schedule_steps or length_steps
    progress = min(1.0, (step - stage.warmup_steps) / max(1, end - stage.warmup_steps))
    match stage.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
