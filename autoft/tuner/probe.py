"""The probe: how far the frozen model already goes, found out once per study before the first trial.

It reads pooled features at a few depths, where activations will be kept anyway from those, fits a linear model to each,
and trains the head stages that trials are going to begin with, side by side; for one of them it solves. That one is
where to start from when the features at the top are no worse than those further down, and so will not change much.
EfficientNet-lite0 at 96 px, the upper half trained, items that chose nothing: on stamps, close to ImageNet, 1.8 to 7.1
points better than from a head of three epochs (six pairs of recipes on two splits); on digits, far from it, with fresh
batch statistics 1.4 and 1.7 points worse (two splits).

Where one full fine-tune is long enough to pay for it, a learning rate range test at the same depths tells which rates
are too high with frozen batch statistics. On an EfficientNet-lite0 at 96 px they were those above 9e-4 (top group) and
4e-4 (top two or four) on digits, where 1e-3 did not get off the ground and 3e-4 was best, and above 4e-3 on stamps.
With fresh statistics training stands ten times as much, far beyond what is searched.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch

from autoft.cache import ActivationCache, Need, Prepared
from autoft.data.metrics import Array
from autoft.errors import AutoftError
from autoft.model import LoadedModel, Manner, make_ready
from autoft.recipe import Recipe
from autoft.record import Objective, best_evaluation
from autoft.space.solved import SOLVED
from autoft.streams import stream
from autoft.study import Ledger
from autoft.training import StagedTrainer, StageKeys, StageTree, load_weights, thread_count
from autoft.training.lengths import length_in_steps
from autoft.training.rates import ROWS, RangeTest
from autoft.training.source import can_train_from_cache
from autoft.tuner.machine import core_count
from autoft.tuner.pooled import OutOfTimeError, Pooled, linear_scores
from autoft.tuner.rates import RateLimits, affordable
from autoft.tuner.worker import WorkerContext

PROBE = "probe"
"""Where a study keeps it."""
_DEPTHS = 4
_ITEMS = 1000
"""Of each split at most: the probe is to stay below a tenth of one full fine-tune."""
_SHARE_OF_TIME = 0.1
"""Of the time budget at most."""


@dataclass(frozen=True)
class Probed:
    """What the probe has found."""

    metric: str
    depths: Mapping[int, float] = field(default_factory=dict)
    """Validation value of a linear model on frozen features, by how many top groups lie above them."""
    heads: Mapping[str, float] = field(default_factory=dict)
    """Validation value of the head stages that the search space offers, by their name."""
    head: str | None = None
    """The one to start from: the solved one where no features are better than those at the top, else the best other."""
    rates: RateLimits | None = None
    """None: not tried yet."""
    seconds: float = 0.0
    text: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        depths = {str(depth): round(value, 6) for depth, value in self.depths.items()}
        heads = {name: round(value, 6) for name, value in self.heads.items()}
        return {
            "metric": self.metric,
            "depths": depths,
            "heads": heads,
            "head": self.head,
            "rates": self.rates and self.rates.plain(),
            "seconds": round(self.seconds, 3),
            "text": self.text,
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`."""
        rates = plain.get("rates")
        depths = {int(depth): value for depth, value in plain["depths"].items()}
        return cls(**{**plain, "depths": depths, "rates": rates and RateLimits.from_plain(rates)})


def probe_once(  # noqa: PLR0913 - all that a probe looks at
    ledger: Ledger,
    context: WorkerContext,
    base: Recipe,
    options: Mapping[str, Mapping[str, Any]],
    *,
    openings: Sequence[Recipe],
    loaded: LoadedModel,
    deadline: float | None = None,
    notify: Callable[[str], None],
) -> Probed | None:
    """What the study keeps of its probe, else what one finds now, and it is kept; None where there was none.

    Args:
        ledger: of the study; when its trials began without a probe, it goes on without.
        context: what the workers are given.
        base: the base recipe.
        options: by name, the changes that make the head stages which the search space offers.
        openings: other recipes whose opening head stages are worth training beside them; one that trains the head alone
            and begins by solving for it is trained to its end.
        loaded: the model; it stays as it is.
        deadline: seconds since the epoch at which trials are to end.
        notify: told in a sentence when there is none.
    """
    if (stored := ledger.meta().get(PROBE)) is not None:
        return Probed.from_plain(stored)
    if ledger.trials():
        return None
    try:
        with thread_count(context.threads):
            found = _Probe.of(context, base, loaded, deadline).run(options, openings)
    except OutOfTimeError:
        notify("probe: left out, the time budget is too short for it")
        return None
    except (AutoftError, RuntimeError) as error:  # what keeps the model from running is told by the trials
        notify(f"probe: left out: {error}")
        return None
    ledger.set_meta(PROBE, found.plain())
    notify(f"probe: {found.text}")
    return found


def limits_once(  # noqa: PLR0913 - all that a probe looks at
    ledger: Ledger,
    context: WorkerContext,
    base: Recipe,
    opening: Recipe,
    found: Probed,
    *,
    loaded: LoadedModel,
    deadline: float | None = None,
    notify: Callable[[str], None],
) -> Probed:
    """What the study's probe has found, with the rates that range tests find to be too high; the study keeps them.

    Args:
        ledger: of the study.
        context: what the workers are given.
        base: the base recipe.
        opening: the recipe whose head the tests start from.
        found: what the probe has found so far.
        loaded: the model; it stays as it is.
        deadline: seconds since the epoch at which trials are to end.
        notify: told in a sentence what was found.
    """
    limits = RateLimits()
    try:
        with thread_count(context.threads):
            limits = _Probe.of(context, base, loaded, deadline, spent_s=found.seconds).rates(opening)
    except OutOfTimeError:
        notify("probe: no rates were tried, the time budget is too short for it")
    except (AutoftError, RuntimeError) as error:
        notify(f"probe: no rates were tried: {error}")
    found = replace(found, rates=limits)
    ledger.set_meta(PROBE, found.plain())
    if limits.by_depth:
        told = ", ".join(f"{lr:.1e} (top {top})" for top, lr in sorted(limits.by_depth.items()))
        notify(f"probe: with frozen statistics rates break above {told}")
    return found


@dataclass(frozen=True)
class _Probe:
    """One run of the probe."""

    context: WorkerContext
    base: Recipe
    loaded: LoadedModel
    manner: Manner
    limit: "_Limit"
    deadline: float | None

    @classmethod
    def of(
        cls,
        context: WorkerContext,
        base: Recipe,
        loaded: LoadedModel,
        deadline: float | None,
        *,
        spent_s: float = 0.0,
    ) -> Self:
        """With a copy of the model as the workers have it; so many seconds of what it may take are spent."""
        left_s = math.inf if deadline is None else deadline - time.time()
        loaded = loaded.reset(seed=context.seed)
        device = torch.device(context.device)
        manner = Manner.of(base.optimisation, device)
        make_ready(loaded.module, device, channels_last=manner.channels_last)
        return cls(context, base, loaded, manner, _Limit(_SHARE_OF_TIME * left_s - spent_s), deadline)

    def run(self, options: Mapping[str, Mapping[str, Any]], openings: Sequence[Recipe]) -> Probed:
        """Look at the depths, then train the heads."""
        began = time.monotonic()
        objective, items = self.context.objective, len(self.context.data.splits.val)
        cache = self._cache
        depths = self._depths(self._prepared(cache))
        heads = dict(self._heads(cache, options, openings)) if cache else {}
        found = Probed(objective.metric, depths, heads)
        settled = bool(depths) and least_promising(found, objective, items=items) == 0
        stepped = [name for name in heads if name != SOLVED]
        best = max(stepped, key=lambda name: objective.score(heads[name]), default=None)
        best = SOLVED if settled and SOLVED in options else best
        text = _told(found, objective, items=items, depth=self.loaded.card.depth)
        return replace(found, head=best, seconds=time.monotonic() - began, text=text)

    def rates(self, opening: Recipe) -> RateLimits:
        """The range tests."""
        if self._out_of_time():
            raise OutOfTimeError
        return self._rates(self._prepared(self._cache), self._opening(opening))

    @property
    def _cache(self) -> ActivationCache | None:
        context = self.context
        hands = max(1, core_count() // context.threads)  # no worker runs yet
        return ActivationCache(context.reuse, context.data, lambda _text: None, hands=hands) if context.reuse else None

    @property
    def _boundaries(self) -> list[int]:
        """Where features are read; empty where they cannot be."""
        depth = self.loaded.card.depth
        if depth == 0 or self.loaded.chain.why_not is not None:
            return []
        chosen = self.context.reuse.chosen if self.context.reuse else None
        return spread({*(chosen or ()), depth} if chosen else set(range(1, depth + 1)), _DEPTHS)

    def _prepared(self, cache: ActivationCache | None) -> Prepared:
        """The activations that are kept, built now where the plan has them."""
        if cache is None or not (self.context.reuse and self.context.reuse.chosen) or not self._boundaries:
            return Prepared()
        needs = [Need(boundary, 1.0) for boundary in self._boundaries]
        with self.limit.paused():  # the trials read them too
            return cache.prepare(self.loaded, needs, manner=self.manner, should_stop=self._past_deadline)

    def _depths(self, prepared: Prepared) -> dict[int, float]:
        data, depth, boundaries = self.context.data, self.loaded.card.depth, self._boundaries
        if not boundaries:
            return {}
        pooled = Pooled(self.loaded, data, self.manner, prepared, self._out_of_time)
        train, val = self._sample(data.splits.train, "train"), self._sample(data.splits.val, "val")
        of_train, of_val = pooled.read(boundaries, train), pooled.read(boundaries, val)
        metric = self.context.objective.metric
        return {
            depth - boundary: value
            for boundary in sorted(of_train.keys() & of_val.keys(), reverse=True)
            if np.isfinite(value := self._linear(metric, (of_train[boundary], train), (of_val[boundary], val)))
        }

    def _linear(self, metric: str, train: tuple[Array, Array], val: tuple[Array, Array]) -> float:
        """The value of a linear model, given features and items of both splits."""
        if self._out_of_time():
            raise OutOfTimeError
        targets = self.context.data.targets
        scores = linear_scores(self.context.data.task, (train[0], targets[train[1]]), (val[0], targets[val[1]]))
        return scores[metric]

    def _sample(self, items: Array, split: str) -> Array:
        if len(items) <= _ITEMS:
            return items
        return np.sort(stream(self.base.seed, "probe", split).choice(items, _ITEMS, replace=False))

    def _heads(
        self, cache: ActivationCache, options: Mapping[str, Mapping[str, Any]], openings: Sequence[Recipe]
    ) -> Iterator[tuple[str, float]]:
        """The value that each option comes to; what was trained lies in the stage tree for the trials to fork from."""
        context, loaded, first = self.context, self.loaded, self.base.stages[0]
        if context.stages is None or loaded.head is None or not first.head_only or not can_train_from_cache(self.base):
            return
        if context.reuse is None or loaded.card.depth not in (context.reuse.chosen or ()):
            return
        recipes = {name: self._opening(self.base.override(changes)) for name, changes in options.items()}
        stepped = [each for each in (*recipes.values(), *map(self._opening, openings)) if not _solves(each)]
        tree = StageTree(context.stages, companions=stepped[1:])
        known = [each for each in openings if all(stage.head_only for stage in each.stages)]
        for recipe in (*stepped[:1], *filter(_solves, (*recipes.values(), *known))):
            self._train(recipe, cache, tree)
        keys = StageKeys(loaded, context.data, context.objective)
        for name, recipe in recipes.items():
            result = tree.find(keys.key(recipe, 0))
            if result and (best := best_evaluation(result.curve, context.objective)):
                yield name, best.value

    def _train(self, recipe: Recipe, cache: ActivationCache, tree: StageTree) -> None:
        context, loaded = self.context, self.loaded
        trainer = StagedTrainer(
            recipe,
            loaded,
            context.data,
            context.objective,
            device=context.device,
            should_stop=self._out_of_time,
            cache=cache,
            tree=tree,
            fresh=lambda: loaded.reset(drop_rate=recipe.model.drop_rate, drop_path_rate=recipe.model.drop_path_rate),
        )
        try:
            while not trainer.done:
                if not trainer.advance():
                    raise OutOfTimeError
        finally:
            trainer.close()

    def _rates(self, prepared: Prepared, opening: Recipe) -> RateLimits:
        """Range tests above the boundaries at which activations are kept, from the head that ``opening`` came to."""
        context, loaded, last = self.context, self.loaded, self.base.stages[-1]
        if context.stages is None:
            return RateLimits()
        found = StageTree(context.stages).find(StageKeys(loaded, context.data, context.objective).key(opening, 0))
        if found is None or last.lr is None or last.head_only or not can_train_from_cache(self.base):
            return RateLimits()
        train, targets = context.data.splits.train, context.data.targets
        steps = max(1, math.ceil(len(train) / self.base.data.batch_size))
        passes = sum(length_in_steps(stage, steps) for stage in self.base.stages) / steps * len(train)
        own = [boundary for boundary in prepared.activations if boundary < loaded.card.depth]
        constant_loss = context.data.task.constant_loss(targets[train], targets[train])
        test = RangeTest(self.base, context.data.task, constant_loss, self.manner, self._out_of_time)
        limits = dict[int, float]()
        for boundary in affordable(loaded, own, passes=passes):
            model = loaded.reset()
            make_ready(model.module, torch.device(context.device), channels_last=self.manner.channels_last)
            load_weights(model, found.weights)
            with suppress(RuntimeError):  # recurrent layers on a GPU give no gradients in evaluation: no limit is known
                if (limit := test.limit(model, boundary, *self._few(prepared, boundary))) is not None:
                    limits[loaded.card.depth - boundary] = float(f"{limit:.3g}")
        return RateLimits(self.base.optimisation.opt, limits)

    def _few(self, prepared: Prepared, boundary: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Activations and targets of a few items to train on."""
        data, train = self.context.data, self.context.data.splits.train
        items = stream(self.base.seed, "rates").choice(train, min(ROWS, len(train)), replace=False)
        targets = torch.from_numpy(data.targets[items]).to(self.context.device)
        return prepared.activations[boundary].read(items).to(self.context.device), targets

    def _opening(self, recipe: Recipe) -> Recipe:
        return recipe.model_copy(update={"stages": recipe.stages[:1]})

    def _out_of_time(self) -> bool:
        return self.limit.reached or self._past_deadline()

    def _past_deadline(self) -> bool:
        return self.deadline is not None and time.time() >= self.deadline


@dataclass
class _Limit:
    """Seconds that the probe may take; what is done for the trials anyway does not count."""

    seconds: float
    _since: float = field(default_factory=time.monotonic)

    @property
    def reached(self) -> bool:
        """Whether they are over."""
        return time.monotonic() - self._since >= self.seconds

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count what happens inside."""
        began = time.monotonic()
        try:
            yield
        finally:
            self._since += time.monotonic() - began


def _solves(recipe: Recipe) -> bool:
    return recipe.stages[0].fit == "solve"


def spread(found: set[int], count: int) -> list[int]:
    """At most so many of the numbers, evenly spread, the largest among them."""
    ordered = sorted(found)
    places = np.linspace(len(ordered) - 1, 0, min(count, len(ordered))).round().astype(int)
    return [ordered[place] for place in sorted(set(places.tolist()))]


def least_promising(probed: Probed | None, objective: Objective, *, items: int) -> int:
    """Recipes that train fewer top groups than this begin from features that are worse than ones below them; 0: none.

    That is the smallest depth whose features are as good as the best ones, but for one standard error.
    """
    if probed is None or not probed.depths:
        return 0
    best = max(probed.depths.values(), key=objective.score)
    margin = math.sqrt(best * (1 - best) / max(1, items)) if objective.mode == "max" and 0 <= best <= 1 else 0.0
    good = (depth for depth, value in probed.depths.items() if objective.score(value) >= objective.score(best) - margin)
    return min(good)


def _told(found: Probed, objective: Objective, *, items: int, depth: int) -> str:
    if 0 not in found.depths:
        return "the model's features cannot be read by depth"
    text = (
        f"a linear model on the frozen features reaches {objective.metric} {found.depths[0]:.3f} on {items} validation "
        "items"
    )
    if needed := least_promising(found, objective, items=items):
        return (
            f"{text}, below the top {needed} of {depth} groups {found.depths[needed]:.3f}: those are worth retraining"
        )
    return f"{text}, and no worse at the top than further down"
