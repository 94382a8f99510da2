"""Free gains: weights made from weights that are there, kept only where validation says that they are better.

Points on the line from the start of the fine-tuning to its end (WiSE-FT, arXiv 2109.01903), and a greedy soup of
finished trials (arXiv 2203.05482). Running statistics are mixed as parameters are: to compute them anew would take a
pass over the training data for each candidate and undo ``norm: eval``; where their mean is wrong, validation tells.

First of all an average over the steps of the last stage, which a trial keeps beside its weights and never evaluates.
With `ema_decay` a recipe evaluates and keeps such an average while it runs: where it is better, the recipe says that.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from autoft.data.metrics import Array
from autoft.data.outcomes import BY_ITEM, item_scores
from autoft.model import named_tensors
from autoft.record import Objective
from autoft.statistics import standard_error
from autoft.streams import stream
from autoft.training.scoring import Scorer

Weights: TypeAlias = Mapping[str, Tensor]

AVERAGED = 0.98
"""Decay of the average that trials keep beside the weights of their last stage."""
AVERAGE = f"average over the steps (ema_decay {AVERAGED:g})"
SHARES = (0.9, 0.8, 0.7, 0.5, 0.3)
"""Of the fine-tuned weights, on the line."""
MOST_MEMBERS = 8
"""Trials that may join the winner in a soup."""
_PARTS = 20
"""Of a jackknife, for metrics that are no mean over items."""


@dataclass(frozen=True, slots=True)
class Tried:
    """Weights that were tried in the place of the winner's."""

    kind: str
    value: float
    """The metric on the validation split."""
    gain: float
    """Over the winner; positive is better."""
    standard_error: float
    """Of the gain, from the same items; NaN where nothing can be said."""
    kept: bool = False

    @property
    def is_real(self) -> bool:
        """Whether the gain exceeds its standard error: one item more never does."""
        return self.gain > self.standard_error * (1 + 1e-9)

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)


@dataclass(frozen=True)
class Improved:
    """What was found."""

    tried: tuple[Tried, ...] = ()
    weights: Weights | None = None
    """None: the winner's own are kept."""
    name: str | None = None
    """What they are called, where they are none of those tried."""

    @property
    def kind(self) -> str | None:
        """Of what is kept in place of the winner's weights."""
        if self.name and self.weights is not None:
            return self.name
        return next((each.kind for each in self.tried if each.kept), None)

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {"kept": self.kind, "tried": [each.plain() for each in self.tried]}


@dataclass(frozen=True, slots=True)
class Ingredient:
    """Weights that can be mixed with the winner's, and what they are called."""

    name: str
    read: Callable[[], Weights | None]
    """Gives None where they are gone."""


class Judge:
    """Compares weights with the winner's, item by item on the validation split.

    Args:
        scorer: of model and data.
        objective: what decides.
        winner: its weights.
    """

    def __init__(self, scorer: Scorer, objective: Objective, *, winner: Weights) -> None:
        self._scorer, self._data, self._objective, self.winner = scorer, scorer.data, objective, winner
        base = named_tensors(scorer.loaded.base.module)
        self.base: Weights = {name: each.detach() for name, each in base.items()}
        self._outputs = self._run(winner)
        self.value = self._metric(self._outputs)

    def compare(self, kind: str, weights: Weights) -> Tried:
        """What ``weights`` come to."""
        outputs = self._run(weights)
        value = self._metric(outputs)
        gain = self._objective.score(value) - self._objective.score(self.value)
        return Tried(kind, value, gain, self._error(outputs))

    def _run(self, weights: Weights) -> Tensor:
        return self._scorer.outputs(weights, self._data.splits.val)

    def _metric(self, outputs: Tensor, places: Array | None = None) -> float:
        items = self._data.splits.val if places is None else self._data.splits.val[places]
        kept = outputs if places is None else outputs[torch.from_numpy(places)]
        return self._data.task.metrics(kept, self._data.targets[items])[self._objective.metric]

    def _error(self, outputs: Tensor) -> float:
        """The standard error of the gain."""
        items, groups = self._data.splits.val, self._data.groups
        own = None if groups is None else [str(each) for each in groups[items]]
        if len(items if own is None else set(own)) < 2:
            return math.nan
        if self._objective.metric not in BY_ITEM:
            return self._jackknife(outputs, own)
        task, metric, targets = self._data.task, self._objective.metric, self._data.targets[items]
        scores = [item_scores(task, metric, each, targets) for each in (outputs, self._outputs)]
        return standard_error(scores[0] - scores[1], groups=own)

    def _jackknife(self, outputs: Tensor, groups: list[str] | None) -> float:
        """From what the gain is without each of some parts of the items, or of the groups."""
        count = len(outputs)
        part = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
        order = stream(0, "gains").permutation(int(part.max()) + 1)
        part = order[part] % min(_PARTS, len(order))
        gains = []
        for left_out in np.unique(part):
            kept = np.flatnonzero(part != left_out)
            first, second = self._metric(outputs, kept), self._metric(self._outputs, kept)
            gains.append(self._objective.score(first) - self._objective.score(second))
        found = np.asarray(gains)
        return float(np.sqrt((len(found) - 1) / len(found) * np.square(found - found.mean()).sum()))


def between(base: Weights, start: Weights, end: Weights, share: float) -> dict[str, Tensor]:
    """The point of the line from ``start`` to ``end`` after so much of it; integers stay those of the start.

    Args:
        base: what both have under a name that they do not mention.
        start: what differs from the base there.
        end: likewise.
        share: 0 to 1.
    """
    found = {}
    for name in dict.fromkeys([*start, *end]):
        first, last = (each.get(name, base[name]).detach().cpu() for each in (start, end))
        found[name] = torch.lerp(first, last, share) if first.is_floating_point() else first.clone()
    return found


@dataclass
class _Search:
    """Candidates so far, and the best of them."""

    judge: Judge
    affords: Callable[[], bool]
    tried: list[Tried] = field(default_factory=list)
    best: tuple[Tried, Weights] | None = None

    def look(self, kind: str, weights: Weights) -> Tried:
        found = self.judge.compare(kind, weights)
        self.tried.append(found)
        if found.is_real and (self.best is None or found.gain > self.best[0].gain):
            self.best = found, weights
        return found

    def line(self, start: Ingredient) -> None:
        """Points between a start and the winner."""
        weights = start.read() if self.affords() else None
        for share in SHARES if weights is not None else ():
            if not self.affords():
                return
            mixed = between(self.judge.base, weights or {}, self.judge.winner, share)
            self.look(f"interpolation {share:g} from {start.name}", mixed)

    def soup(self, others: Iterable[Ingredient]) -> None:
        """The winner's weights and others, each of which stays in if validation is not worse for it."""
        mean, names, gain = self.judge.winner, ["the winner"], 0.0
        for other in others:
            if not self.affords():
                return
            if (weights := other.read()) is None:
                continue
            mixed = between(self.judge.base, mean, weights, 1 / (len(names) + 1))
            found = self.look(f"soup of {', '.join(names)} and {other.name}", mixed)
            if found.gain >= gain:
                mean, names, gain = mixed, [*names, other.name], found.gain


def improve(
    judge: Judge,
    *,
    start: Ingredient | None,
    others: Iterable[Ingredient],
    affords: Callable[[], bool],
    average: Weights | None = None,
) -> Improved:
    """Try weights in place of the winner's; the best is kept if its gain exceeds its standard error.

    It is the best of several on the same items, so what is kept looks a little better than it is.

    Args:
        judge: knows the winner.
        start: where its fine-tuning began: the base with a head.
        others: finished trials, the best first.
        affords: whether there is time for one more.
        average: what the winner kept beside its weights.
    """
    search = _Search(judge, affords)
    if average is not None and affords():
        search.look(AVERAGE, average)
    if start is not None:
        search.line(start)
    search.soup(others)
    if search.best is None:
        return Improved(tuple(search.tried))
    kept, weights = search.best
    told = tuple(Tried(each.kind, each.value, each.gain, each.standard_error, each is kept) for each in search.tried)
    return Improved(told, weights)
