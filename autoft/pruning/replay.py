"""Judge any rule on recorded curves: what it would have saved, and which good trials it would have cost.

Recorded curves are kept as one .npz per task: ``hp`` (n, d) with ``hp_names`` (d,), and ``train``, ``valid`` and
``test`` losses (n, 1 + evaluations), the first column before training: the form of TaskSet (Metz et al. 2020, arXiv
2002.11887). Where curves are not equally long or another metric than the loss decides, there are also ``lengths`` (n,)
in evaluations, ``value`` (n, 1 + evaluations), ``metric`` and ``mode``; what was not measured is NaN.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from autoft.errors import DataError
from autoft.files import replacing
from autoft.pruning.config import PruneConfig, build_rules
from autoft.pruning.peers import CurveTable, best_score
from autoft.pruning.rules import Rule
from autoft.record import Action, Curve, Evaluation, Mode, Objective

TOPS = (0.01, 0.05, 0.1)
"""Shares of the best trials among which false prunes are counted."""
STAGE = "train"
LOG_LOSS = Objective("log_loss", "min")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedTask:
    """The curves of many recipes on one task, every one run to its end."""

    name: str
    hyperparameters: tuple[str, ...]
    points: NDArray[np.float64]
    """(n, d): the recipes' hyperparameters, as recorded."""
    curves: tuple[Curve, ...]
    objective: Objective = LOG_LOSS

    def best_scores(self) -> NDArray[np.float64]:
        """(n,): the best score of each whole curve; higher is better."""
        return np.array([best_score(curve, len(curve), self.objective) for curve in self.curves])


@dataclass(frozen=True, slots=True)
class Judged:
    """What a rule did to recorded trials."""

    false_prunes: Mapping[float, float]
    """Per share of the best trials: how many of those (as a share) were stopped before their best evaluation."""
    regret: float
    """How far, in the metric's unit, the best evaluation that was run is behind the best recorded one."""
    saved: float
    """Share of all recorded evaluations that were not run."""
    stopped: Mapping[str, int]
    """Trials stopped, by rule."""


def load_task(path: Path) -> RecordedTask:
    """Read recorded curves; evaluation 1 is the first after training began.

    Raises:
        DataError: not such a file, or its arrays do not fit together.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            points, names = arrays["hp"], [str(name) for name in arrays["hp_names"]]
            train, valid = arrays["train"].astype(float), arrays["valid"].astype(float)
            value = arrays["value"].astype(float) if "value" in arrays else valid
            lengths = arrays["lengths"] if "lengths" in arrays else np.full(len(valid), valid.shape[1] - 1)
            objective = Objective(str(arrays["metric"]), _mode(arrays["mode"])) if "metric" in arrays else LOG_LOSS
    except (OSError, KeyError, ValueError, IndexError, EOFError, BadZipFile) as error:
        raise DataError(f"{path}: no recorded curves ({error}); give an .npz with hp, hp_names, train, valid") from None
    fits = train.shape == valid.shape == value.shape and len(points) == len(valid) == len(lengths)
    if not fits or points.shape[1:] != (len(names),):
        raise DataError(
            f"{path}: hp {points.shape}, hp_names ({len(names)},), train {train.shape} and valid {valid.shape} must be "
            "(n, d), (d,) and twice (n, 1 + evaluations); record them again"
        )
    rows = zip(train, valid, value, lengths, strict=True)
    curves = tuple(recorded_curve(*(each[1 : 1 + length] for each in three)) for *three, length in rows)
    return RecordedTask(path.stem, tuple(names), points.astype(float), curves, objective)


def save_task(path: Path, task: RecordedTask) -> None:
    """Write recorded curves so that `load_task` reads them.

    Raises:
        StorageError: the disk refuses.
    """
    lengths = [len(curve) for curve in task.curves]
    train, valid, test, value = np.full((4, len(lengths), 1 + max(lengths, default=0)), np.nan)
    for row, curve in enumerate(task.curves):
        ours = slice(1, 1 + len(curve))
        train[row, ours] = [evaluation.train_loss for evaluation in curve]
        valid[row, ours] = [evaluation.val_loss for evaluation in curve]
        value[row, ours] = [evaluation.value for evaluation in curve]
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            hp=task.points,
            hp_names=np.array(task.hyperparameters, dtype=np.str_),
            lengths=np.array(lengths, dtype=np.int64),
            metric=np.array(task.objective.metric),
            mode=np.array(task.objective.mode),
            train=train,
            valid=valid,
            test=test,
            value=value,
        )


def recorded_curve(
    train: Sequence[float] | NDArray[np.float64],
    valid: Sequence[float] | NDArray[np.float64],
    value: Sequence[float] | NDArray[np.float64] | None = None,
) -> Curve:
    """A curve of one stage from its training and validation losses, one of each per evaluation.

    Args:
        train: losses.
        valid: losses.
        value: of the metric that decides; default: the validation losses.
    """
    rows = zip(map(float, train), map(float, valid), map(float, valid if value is None else value), strict=True)
    return tuple(
        Evaluation(index, STAGE, float(index), index, found, loss, val_loss)
        for index, (loss, val_loss, found) in enumerate(rows, start=1)
    )


def _mode(mode: NDArray[np.str_]) -> Mode:
    match str(mode):
        case "min":
            return "min"
        case "max":
            return "max"
        case other:
            raise ValueError(f"mode is {other!r}")


def replay(rule: Rule, task: RecordedTask, order: Sequence[int] | NDArray[np.intp] | None = None) -> Judged:
    """Run recorded trials one after another, each until the rule stops it, with those before it as its peers.

    Args:
        rule: any pruning rule; a pause is none of its stops, for it can be taken back.
        task: the recorded trials.
        order: which of them, in which order; default: all as recorded.

    Raises:
        ValueError: no trials.
    """
    chosen = list(range(len(task.curves))) if order is None else [int(trial) for trial in order]
    if not chosen:
        raise ValueError("order: must name at least one trial, got none")
    table, ran, stopped = CurveTable(task.objective), dict[int, Curve](), Counter[str]()
    for trial in chosen:
        whole, ran[trial] = task.curves[trial], ()
        peers = table.peers(ran.items(), without=trial)
        for length in range(1, len(whole) + 1):
            ran[trial] = whole[:length]
            decision = rule(ran[trial], peers, task.objective)
            if decision.action == Action.STOP:
                stopped[decision.rule] += 1
                break
    return _judged(task, ran, stopped)


def _judged(task: RecordedTask, ran: Mapping[int, Curve], stopped: Mapping[str, int]) -> Judged:
    scores = {trial: best_score(task.curves[trial], len(task.curves[trial]), task.objective) for trial in ran}
    seen = {trial: best_score(curve, len(curve), task.objective) for trial, curve in ran.items()}
    ranked = sorted(ran, key=lambda trial: -scores[trial])
    false = {}
    for share in TOPS:
        top = ranked[: max(1, round(share * len(ranked)))]
        false[share] = sum(seen[trial] < scores[trial] for trial in top) / len(top)
    lost = scores[ranked[0]] - max(seen.values())
    evaluations = sum(len(task.curves[trial]) for trial in ran)
    return Judged(
        false_prunes=false,
        regret=0.0 if math.isnan(lost) else lost,
        saved=1 - sum(map(len, ran.values())) / evaluations,
        stopped=dict(stopped),
    )


def candidates() -> dict[str, PruneConfig]:
    """Settings of the ``prune`` section to choose among, by what distinguishes them."""
    return {
        f"patience {patience}, top {top:.2f}": PruneConfig(patience=patience, top_fraction=top)
        for patience in (1, 2, 3, 5, 8)
        for top in (1 / 3, 1 / 2)
    }


def rule_of(config: PruneConfig) -> Rule:
    """The rule that a section makes for recorded trials: one stage, compared from the second evaluation on."""
    return build_rules(config, grace_period=2)


def mildest(judged: Mapping[str, Sequence[Judged]], *, min_saved: float = 0.6) -> str:
    """Of several rules, each judged on several tasks, the one that costs the fewest good trials and saves enough.

    The fewest false prunes of the top 1%, then of the top 5%, then the most saved, among those that save at least
    ``min_saved`` on average (more than is asked of a new task: it may save less); the one that saves most if none does.
    """

    def mean(name: str, share: float) -> float:
        return float(np.mean([one.false_prunes[share] for one in judged[name]]))

    saved = {name: float(np.mean([one.saved for one in ones])) for name, ones in judged.items()}
    enough = [name for name in judged if saved[name] >= min_saved]
    if not enough:
        return max(saved, key=saved.__getitem__)
    return min(enough, key=lambda name: (mean(name, 0.01), mean(name, 0.05), -saved[name]))
