"""Pruning rules: pure functions of curves, each with a name and a sentence that holds the numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from autoft.pruning.peers import best_score, peer_scores, shown
from autoft.record import CONTINUE, Curve, Decision, Objective, pause, stop


class Rule(Protocol):
    """``(curve, peers, objective) -> Decision``; the curve's last evaluation is the one to judge by.

    Peers are the curves of the study's other trials, as far as they came. A rule never judges by an evaluation
    within the warm-up after an unfreeze, or within a cool-down, unless it is non-finite.
    """

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """What becomes of the trial whose curve this is."""


class Nothing:
    """The rule that lets every trial go on."""

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Go on."""
        del curve, peers, objective
        return CONTINUE


@dataclass(frozen=True, slots=True)
class Diverged:
    """Stops at once when the trainer saw a divergence, or (``non_finite``) when a loss or the metric is no number."""

    non_finite: bool = True

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Stop, or go on."""
        del peers
        if not curve:
            return CONTINUE
        last = curve[-1]
        if last.diverged:
            return stop("diverged", last.diverged)
        if not self.non_finite:
            return CONTINUE
        measured = {"training loss": last.train_loss, "validation loss": last.val_loss, objective.metric: last.value}
        for name, value in measured.items():
            if not math.isfinite(value):
                return stop("diverged", f"{name} is {value} at evaluation {last.index} (stage {last.stage})")
        return CONTINUE


@dataclass(frozen=True, slots=True)
class Overfit:
    """Pauses when the validation loss rose while the training loss fell over ``patience`` evaluations.

    Rose: every later one lies above the first, and the second half above the first half on average.
    """

    patience: int = 5

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Pause, or go on."""
        del peers, objective
        window = _this_stage(curve)[-self.patience - 1 :]
        if len(window) <= self.patience:
            return CONTINUE
        first, last = window[0], window[-1]
        validation = [evaluation.val_loss for evaluation in window]
        half = len(validation) // 2
        rises = min(validation[1:]) > first.val_loss and _mean(validation[-half:]) > _mean(validation[:half])
        if not (rises and last.train_loss < first.train_loss):
            return CONTINUE
        return pause(
            "overfit",
            f"validation loss rose from {first.val_loss:.4g} to {last.val_loss:.4g} while training loss fell "
            f"from {first.train_loss:.4g} to {last.train_loss:.4g} over {self.patience} evaluations",
        )


@dataclass(frozen=True, slots=True)
class Dominated:
    """Stops a trial whose best was behind the median of its peers' best at each of its last ``patience`` evaluations.

    The median rule of Google Vizier (Golovin et al. 2017), on best values so far. A peer that ended before counts with
    what it had reached: among the survivors alone the rule would halve them at every evaluation. Needs ``min_peers``.
    With a patience of one it stops late starters: 2.5% of the top 1% of 8,000 recorded curves, with five none
    (`autoft.pruning.replay`). Patience counts within a stage.
    """

    min_peers: int = 5
    patience: int = 1

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Stop, or go on."""
        if not curve or not curve[-1].comparable:
            return CONTINUE
        stage = curve[-1].stage
        places = [place for place, e in enumerate(curve, start=1) if e.stage == stage and not e.warming_up]
        if len(places) < self.patience or len(peers) < self.min_peers:
            return CONTINUE
        for index in places[: -self.patience - 1 : -1]:
            scores = peer_scores(peers, index, objective, came=1)
            if len(scores) < self.min_peers or best_score(curve, index, objective) >= float(np.median(scores)):
                return CONTINUE
        index = len(curve)
        scores = peer_scores(peers, index, objective, came=1)
        times = f" for {self.patience} evaluations" if self.patience > 1 else ""
        return stop(
            "dominated",
            f"best {objective.metric} {shown(best_score(curve, index, objective), objective)} at evaluation {index} is "
            f"behind {shown(float(np.median(scores)), objective)}, the median of {len(scores)} peers{times}",
        )


@dataclass(frozen=True, slots=True)
class Plateau:
    """Pauses when the last ``patience`` evaluations of the stage brought no new best."""

    patience: int = 5

    def __call__(self, curve: Curve, peers: Sequence[Curve], objective: Objective, /) -> Decision:
        """Pause, or go on."""
        del peers
        stage = _this_stage(curve)
        before, recent = stage[: -self.patience], stage[-self.patience :]
        if not before:
            return CONTINUE
        old = best_score(before, len(before), objective)
        if best_score(recent, len(recent), objective) > old:
            return CONTINUE
        return pause(
            "plateau",
            f"{objective.metric} has not improved on {shown(old, objective)} for {self.patience} evaluations",
        )


def _this_stage(curve: Curve) -> Curve:
    """Evaluations of the stage that the curve ends in, but for its warm-up; none while it warms up or cools down."""
    if not curve or not curve[-1].comparable:
        return ()
    return tuple(e for e in curve if e.stage == curve[-1].stage and not e.warming_up)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
