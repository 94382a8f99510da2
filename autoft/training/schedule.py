"""The course of the learning rate through a stage, a pure function of the step."""

import math

from autoft.recipe import Stage

COOL_DOWN = 0.25
"""Share of its schedule over which ``wsd`` lets the rate fall."""


def rate_factor(stage: Stage, step: int, length_steps: int) -> float:
    """What all rates of ``stage`` are multiplied with at ``step`` (0 for the first).

    Warm-up rises linearly over ``stage.warmup_steps``, to the full rate at the step after it; then the
    schedule falls to zero at ``stage.schedule_steps``, or at the stage's length. Cosine as in
    arXiv 1608.03983, without restarts. Wsd is warm-up, stable, decay (arXiv 2404.06395): the full rate, and
    a linear fall over the last quarter (arXiv 2405.18392).

    Args:
        stage: the stage.
        step: optimizer steps of this stage done before this one.
        length_steps: the stage's length in optimizer steps.
    """
    if step < stage.warmup_steps:
        return (step + 1) / (stage.warmup_steps + 1)
    progress = _progress(stage, step, length_steps)
    match stage.schedule:
        case "constant":
            return 1.0
        case "linear":
            return 1.0 - progress
        case "cosine":
            return 0.5 * (1.0 + math.cos(math.pi * progress))
        case "wsd":
            return min(1.0, (1.0 - progress) / COOL_DOWN)


def cooled(stage: Stage, step: int, length_steps: int) -> float:
    """Share of the stage's cool-down that lies behind after ``step`` optimizer steps: 0 before it and where none is.

    What is measured before and after a cool-down does not compare. A linear or cosine fall is the whole stage, not a
    cool-down.
    """
    if stage.schedule != "wsd":
        return 0.0
    return max(0.0, 1.0 - (1.0 - _progress(stage, step, length_steps)) / COOL_DOWN)


def _progress(stage: Stage, step: int, length_steps: int) -> float:
    """Share of the schedule that lies behind; below zero within the warm-up."""
    end = stage.schedule_steps or length_steps
    return min(1.0, (step - stage.warmup_steps) / max(1, end - stage.warmup_steps))
