"""The plan of a search: which activations are kept, and what they and the trials will cost."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from autoft.cache import Reuse, reuse_of
from autoft.cache.cost import Boundary, Choice, Machine, Verdict, building_seconds, choose, measure
from autoft.cache.measure import MeasurementError, Measurements, Speed
from autoft.data.variants import Variant
from autoft.errors import AutoftError
from autoft.model import complete
from autoft.recipe import Recipe, Stage
from autoft.record import Objective
from autoft.space import FunctionSpace, SearchSpace
from autoft.training import needs_of
from autoft.tuner.config import SearchConfig
from autoft.tuner.layout import Layout
from autoft.tuner.predict import Predictor
from autoft.tuner.prepare import Ground, baselines_of, shipped_portfolio
from autoft.tuner.sampler import build_sampler

_DRAWS = 32
_SHARE_TRAINED = {"none": 1.0}
"""Of all epochs, by scheduler: how many are trained before trials are stopped."""
_SHARE_STOPPED = 0.5
"""With any scheduler that stops trials."""

Expected: TypeAlias = Sequence[tuple[Recipe, float]]
"""Recipes that stand for a search's trials, each with how many whole ones it stands for."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A boundary whose activations are kept."""

    boundary: int
    group: str
    """The last one below it."""
    nbytes: int


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a search is expected to cost, and how it uses the machine."""

    layout: Layout
    kept: tuple[Kept, ...] = ()
    building_s: float = 0.0
    """Of the activations, once, where they do not lie on the disk already."""
    trials_s: float | None = None
    """Of training all trials, on one slot; None where the model's speed cannot be measured."""
    trials_without_reuse_s: float | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that are kept."""
        return sum(each.nbytes for each in self.kept)

    def plain(self) -> dict[str, Any]:
        """As the summary has it."""
        seconds = {
            "building_s": self.building_s,
            "trials_s": self.trials_s,
            "trials_without_reuse_s": self.trials_without_reuse_s,
        }
        return {
            **self.layout.plain(),
            "kept": [asdict(each) for each in self.kept],
            "bytes": self.nbytes,
            **{name: None if value is None else round(value, 3) for name, value in seconds.items()},
        }


@dataclass(frozen=True)
class Outlook:
    """A forecast, and what follows from it for the search."""

    forecast: Forecast
    reuse: Reuse | None
    """How the workers share activations; None if they do not."""
    predictor: Predictor | None

    def totals(self, recipe: Recipe) -> tuple[float, float] | None:
        """Predicted seconds of a recipe, with and without reuse; None where nothing is known."""
        if self.predictor is None:
            return None
        return self.predictor.total(recipe), replace(self.predictor, kept=frozenset()).total(recipe)

    def seconds(self, recipe: Recipe) -> float:
        """Predicted seconds of a recipe with reuse; 0 where nothing is known."""
        return 0.0 if self.predictor is None else self.predictor.total(recipe)

    def predict(self, recipe: Mapping[str, Any]) -> dict[str, float]:
        """Predicted seconds per epoch of each stage of a recipe; empty where nothing is known."""
        if self.predictor is None:
            return {}
        try:
            per_epoch = self.predictor.per_epoch(Recipe.parse(recipe, where="prediction"))
        except AutoftError:  # a recipe that does not fit the model says so where it is trained
            return {}
        return {stage: round(seconds, 6) for stage, seconds in per_epoch.items()}


def look_ahead(
    config: SearchConfig,
    ground: Ground,
    space: SearchSpace,
    objective: Objective,
    layout: Layout,
    measured: Measurements,
) -> Outlook:
    """Plan a search: decide once, for all workers, which boundaries are kept. No result depends on it."""
    expected = expected_recipes(config, ground, space, objective)
    reuse = reuse_in(config)
    try:
        speed = measured.exact(layout.setting)
    except MeasurementError:  # a model that does not run says so where it is trained
        passes = _passes(expected, ground)
        return Outlook(Forecast(layout), replace(reuse, passes=passes) if reuse else None, None)
    machine = measure(ground.data)
    without = Predictor(ground.loaded, ground.data, speed, machine)
    kept: tuple[Kept, ...] = ()
    building_s = 0.0
    if reuse:
        boundaries = _boundaries(expected, ground, speed)
        choices = _chosen(boundaries, machine, reuse, items=len(ground.data))
        names = ground.loaded.groups
        kept = tuple(Kept(index, names[index - 1].name, choices[index].nbytes) for index in sorted(choices))
        building_s = building_seconds(
            [each for each in boundaries if each.index in choices], machine, items=len(ground.data)
        )
        chosen = frozenset(choices)
        reuse = replace(reuse, passes={each.index: each.passes for each in boundaries}, chosen=chosen)
    predictor = replace(without, kept=frozenset(each.boundary for each in kept))
    forecast = Forecast(
        layout,
        kept,
        building_s,
        sum(share * predictor.total(recipe) for recipe, share in expected),
        sum(share * without.total(recipe) for recipe, share in expected),
    )
    return Outlook(forecast, reuse, predictor)


def expected_passes(
    config: SearchConfig, ground: Ground, space: SearchSpace, objective: Objective
) -> Mapping[int, float]:
    """Passes over the rows of all items per boundary that a search will ask for."""
    return _passes(expected_recipes(config, ground, space, objective), ground)


def expected_recipes(config: SearchConfig, ground: Ground, space: SearchSpace, objective: Objective) -> Expected:
    """The baselines, the portfolio, and recipes drawn at random from the space.

    A function that a user gave is not called: it may remember its calls, or fail. For it stand the base recipe's
    stages, the last one trained to evenly spread depths.
    """
    total = config.search.num_samples
    known = [(recipe, 1.0) for _, recipe in baselines_of(ground)][:total]
    trained = _SHARE_TRAINED.get(config.search.scheduler, _SHARE_STOPPED)
    known += [(recipe, trained) for _, recipe in shipped_portfolio(config, ground, space)][: total - len(known)]
    others = total - len(known)
    if not others:
        return known
    spread = isinstance(space, FunctionSpace)
    if spread:
        drawn = [deepened(ground, depth) for depth in range(ground.loaded.card.depth + 1)]
    else:
        drawn = list(_drawn(config, ground, space, objective))
    share = others / max(1, len(drawn)) * trained
    return [*known, *((recipe, share) for recipe in drawn)]


def _drawn(config: SearchConfig, ground: Ground, space: SearchSpace, objective: Objective) -> Iterator[Recipe]:
    sampler = build_sampler(
        "random",
        space=space,
        base=ground.recipe,
        objective=objective,
        seed=config.search.seed,
        complete=lambda recipe: complete(recipe, ground.loaded.card),
    )
    for number in range(_DRAWS):
        proposal = sampler.propose([], number)
        if proposal is None:
            return
        yield Recipe.parse(proposal.recipe, where="space")


def deepened(ground: Ground, depth: int) -> Recipe:
    """The base recipe with the top ``depth`` groups trained in its last stage."""
    *before, last = ground.recipe.stages
    plain = last.model_dump(mode="json", exclude_none=True, exclude={"drop_rate"}) | {"unfreeze": depth}
    stages = (*before, Stage.parse(plain, where="forecast"))
    return complete(ground.recipe.model_copy(update={"stages": stages}), ground.loaded.card)


def reuse_in(config: SearchConfig) -> Reuse | None:
    """Where a search keeps activations; None where it does not."""
    how = config.reuse
    return None if how.activations == "off" else reuse_of(max_bytes=how.max_bytes, always=how.activations == "on")


def _passes(expected: Expected, ground: Ground) -> dict[int, float]:
    return {boundary: passes for boundary, (passes, _) in _needed(expected, ground).items()}


def _needed(expected: Expected, ground: Ground) -> dict[int, tuple[float, int]]:
    """Passes per boundary, and how many images of each item are asked for.

    A boundary that was not drawn, between two that were, is asked for as often as they are on average.
    """
    if ground.loaded.chain.why_not is not None or not ground.data.content:
        return {}
    passes: defaultdict[int, float] = defaultdict(float)
    variants: set[Variant] = set()
    for recipe, share in expected:
        steps = math.ceil(len(ground.data.splits.train) / recipe.data.batch_size)
        for need in needs_of(recipe, ground.loaded, ground.data, steps_per_epoch=steps):
            if need.boundary > 0:
                passes[need.boundary] += share * need.passes
                variants |= set(need.variants)
    deepest = max(passes, default=0)
    others = sorted(set(passes) - {deepest})
    if len(others) > 1:
        average = sum(passes[index] for index in others) / (others[-1] - others[0] + 1)
        passes |= {index: average for index in range(others[0], others[-1]) if index not in passes}
    return {index: (count, len(variants)) for index, count in sorted(passes.items())}


def _boundaries(expected: Expected, ground: Ground, speed: Speed) -> list[Boundary]:
    halved = ground.recipe.optimisation.boundary_dtype == "float16"
    return [
        Boundary(
            index,
            row_bytes=speed.row_bytes[index - 1] // (2 if halved else 1),
            row_s=sum(speed.forward_s[:index]),
            passes=passes,
            variants=variants,
        )
        for index, (passes, variants) in _needed(expected, ground).items()
        if index < len(speed.row_bytes) and speed.row_bytes[index - 1] > 0
    ]


def _chosen(boundaries: Sequence[Boundary], machine: Machine, reuse: Reuse, *, items: int) -> dict[int, Choice]:
    choices = choose(boundaries, machine, items=items, max_bytes=reuse.max_bytes, always=reuse.always)
    return {index: choice for index, choice in choices.items() if choice.verdict is Verdict.REUSE}
