"""From a configuration to everything a search needs, with every bad input found before anything is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from autoft.cache import ActivationCache, Reuse
from autoft.cache.measure import Measurements
from autoft.data import DataHandle, Task, open_data
from autoft.data.other_metrics import GivenMetric, name_of
from autoft.model import LoadedModel, build_card, complete, load_model
from autoft.model.memory import MemoryFormat
from autoft.recipe import Recipe
from autoft.record import Objective
from autoft.shards import ShardStore, default_max_bytes, default_root
from autoft.space import DeclaredSpace, SearchSpace, build_space
from autoft.space.solved import with_solved_head
from autoft.streams import stream_seed
from autoft.training import Scorer, check_norms
from autoft.tuner.baselines import baselines
from autoft.tuner.config import NO_METRICS, SearchConfig
from autoft.tuner.constraints import Constraints
from autoft.tuner.exploring import MODELLING, ExploringSampler
from autoft.tuner.given import Data
from autoft.tuner.inputs import check_torch, example_batch
from autoft.tuner.layout import device_here
from autoft.tuner.machine import core_count
from autoft.tuner.pareto import Aims, objectives_of
from autoft.tuner.policy import Policy
from autoft.tuner.portfolio import Named, portfolio_of, without_repeats
from autoft.tuner.probe import Probed
from autoft.tuner.rates import RateLimits
from autoft.tuner.sampler import PredictingSampler, Sampler, build_sampler
from autoft.tuner.sampler_choice import DRAWS, ChoosingSampler
from autoft.tuner.units import UnitCounter
from autoft.tuner.worker import Confirming, WorkerContext

Predict: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, float]]
"""Seconds per epoch of each stage of a recipe, given as plain data; empty where nothing is known."""


_FEATURES_BYTES = 2**29
"""Of float64 features at most, where a head is solved for."""


@dataclass(frozen=True)
class Ground:
    """Model, data and base recipe: what both a search and a single fine-tune stand on."""

    recipe: Recipe
    """Completed: image size and rates are filled in."""
    loaded: LoadedModel
    data: DataHandle
    module: nn.Module | None
    """The caller's own module, unchanged."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about data and weights that belong to any result."""
        return (*self.data.notes, *self.loaded.notes)


def asked_metrics(config: SearchConfig, own: Callable[..., Any] | None = None) -> list[GivenMetric]:
    """What the search is to measure, beside what it always does.

    Args:
        config: the names; that of the metric that decides may be that of ``own``.
        own: a function that the caller gave.
    """
    named = {config.search.metric, *(config.search.objectives or ())} - {None, *NO_METRICS}
    return [own if own is not None and name == name_of(own) else name for name in sorted(filter(None, named))]


def check_before_spending(
    config: SearchConfig, recipe: Recipe, space: Any, own: Callable[..., Any] | None = None
) -> None:
    """Find what is wrong with model, metric and search space of a timm model before anything is started or decoded.

    Args:
        config: of the search.
        recipe: its base recipe.
        space: a Python object that the caller gave.
        own: a metric that the caller gave.

    Raises:
        UnknownNameError: an unknown model or metric.
        ConfigError: a search space that does not fit the model.
    """
    task = Task(recipe.data.task).judged_by(asked_metrics(config, own))
    task.objective(config.search.metric)
    objectives_of(config.search.objectives or (), task)
    card = build_card(recipe.model, image_size=recipe.data.image_size)
    build_space(config.space if space is None else space, complete(recipe, card).full(), card)


def lay_ground(
    recipe: Recipe,
    source: Data,
    *,
    module: nn.Module | None = None,
    metrics: Sequence[GivenMetric] = (),
    max_bytes: int | None = None,
    notify: Callable[[str], None],
) -> Ground:
    """Open model and data.

    Raises:
        ConfigError: torch is set up so that nothing could train, or a metric that cannot be computed of these data.
        UnknownNameError: an unknown model, built-in data set or metric.
        WeightsError: weights that cannot be had or do not fit.
        DataError: data that cannot be used.
    """
    check_torch()
    if module is None:
        card = build_card(recipe.model, image_size=recipe.data.image_size)
        recipe = recipe.override({"data.image_size": recipe.data.image_size or card.image_size})
    split_seed = recipe.data.split_seed if recipe.data.split_seed is not None else recipe.seed
    recipe = recipe.override({"data.split_seed": split_seed})
    root = default_root()
    store = ShardStore(root, max_bytes or default_max_bytes(root))
    data = open_data(source, recipe.data, seed=split_seed, store=store, notify=notify).judged_by(metrics)
    loaded = load_model(
        recipe.model,
        num_outputs=data.task.num_outputs,
        module=module,
        example=example_batch(data.spec),
        seed=recipe.seed,
        image_size=recipe.data.image_size,
    )
    return Ground(recipe=complete(recipe, loaded.card), loaded=loaded, data=data, module=module)


def build_policy(
    config: SearchConfig,
    ground: Ground,
    space: SearchSpace,
    objective: Objective,
    *,
    predict: Predict = lambda _recipe: {},
    portfolio: Sequence[Named] = (),
    found: Probed | None = None,
) -> Policy:
    """The policy of a search, from its names.

    Args:
        config: the names.
        ground: model and data.
        space: where recipes are drawn from.
        objective: what decides.
        predict: seconds per epoch of each stage of a recipe.
        portfolio: names and recipes of what is tried after the baselines, in this order.
        found: by the probe.
    """
    constraints = Constraints(config.search.constraints, ground.loaded)
    limits = (found and found.rates) or RateLimits()
    sampler = _sampler(config, ground, space, objective, constraints, limits)
    return Policy(
        objective=objective,
        sampler=PredictingSampler(sampler, predict, UnitCounter(ground.loaded, ground.data)),
        baselines=constraints.among(baselines_of(ground)),
        portfolio=[(name, recipe) for name, recipe in portfolio if constraints.allow(recipe)],
        num_samples=config.search.num_samples,
        scheduler=config.search.scheduler,
        grace_period=config.search.grace_period,
        reduction_factor=config.search.reduction_factor,
        prune=config.prune,
        min_gain=config.search.min_gain,
    )


def _sampler(
    config: SearchConfig,
    ground: Ground,
    space: SearchSpace,
    objective: Objective,
    constraints: Constraints,
    limits: RateLimits,
) -> Sampler:
    """The sampler of that name; of one with a model some proposals are random, and of tpe's the best.

    Rates above the limits are left to those that are random.

    A function is called once for a proposal: it is the caller's, and may remember its calls.
    """
    name, seed = config.search.sampler, config.search.seed
    aims = Aims.of(objectives_of(config.search.objectives or (), ground.data.task), ground.loaded)
    build = partial(
        build_sampler,
        space=space,
        base=ground.recipe,
        objective=objective,
        complete=lambda recipe: complete(recipe, ground.loaded.card),
        aims=aims,
    )
    if name not in MODELLING:
        return build(name, seed=seed, allow=constraints.allow)
    anything = build("random", seed=seed, allow=constraints.allow)
    build = partial(
        build, allow=lambda recipe: constraints.allow(recipe) and not limits.exceeded(recipe, ground.loaded)
    )
    sampler = build(name, seed=seed)
    if name == "tpe" and aims is None and isinstance(space, DeclaredSpace):
        others = [build(name, seed=stream_seed(seed, "draw", number)) for number in range(1, DRAWS)]
        sampler = ChoosingSampler((sampler, *others), objective)
    return ExploringSampler(sampler, anything)


def shipped_portfolio(config: SearchConfig, ground: Ground, space: SearchSpace) -> tuple[Named, ...]:
    """The portfolio as far as the search space has it, without what a baseline does already; in no order yet."""
    if config.search.portfolio == "off":
        return ()
    tried = [recipe for _, recipe in baselines_of(ground)]
    return without_repeats(portfolio_of(ground.recipe, ground.loaded, space), ground.loaded, known=tried)


def search_space(config: SearchConfig, ground: Ground, given: Any) -> SearchSpace:
    """The space of a search: from the configuration, or the Python object that the caller gave.

    Where it names heads to choose from, and the head can be solved for, that is one more.
    """
    space = build_space(config.space if given is None else given, ground.recipe.full(), ground.loaded.card)
    return with_solved_head(space, ground.recipe) if _can_be_solved(ground) else space


def baselines_of(ground: Ground) -> tuple[Named, ...]:
    """Names and recipes of a search's baselines, cheapest first."""
    return baselines(ground.recipe, ground.loaded.card, solved=_can_be_solved(ground))


def _can_be_solved(ground: Ground) -> bool:
    """Whether the head is linear, and all features of the training split fit into memory beside all else."""
    head = ground.loaded.head
    return head is not None and 8 * len(ground.data.splits.train) * head.in_features <= _FEATURES_BYTES


def worker_context(  # noqa: PLR0913 - all that a worker is told
    ground: Ground,
    objective: Objective,
    trials: Path,
    *,
    threads: int,
    device: str,
    reuse: Reuse | None,
    stages: Path | None = None,
    companions: Sequence[Recipe] = (),
    confirming: Confirming | None = None,
) -> WorkerContext:
    """What the workers of a search are given.

    Raises:
        ConfigError: the recipes ask for what the device cannot do.
    """
    check_norms(ground.recipe, device)
    return WorkerContext(
        model=ground.recipe.model,
        module=ground.module,
        example=example_batch(ground.data.spec),
        image_size=ground.recipe.data.image_size,
        seed=ground.recipe.seed,
        data=ground.data,
        objective=objective,
        trials=trials.resolve(),
        threads=threads,
        device=device,
        reuse=reuse,
        stages=stages.resolve() if stages else None,
        companions=tuple(companions),
        confirming=confirming,
    )


def scorer_of(ground: Ground, reuse: Reuse | None) -> Scorer:
    """Runs weights on model and data, with the activations that trials have left; the model's weights are changed."""
    cache = ActivationCache(reuse, ground.data, lambda _text: None) if reuse else None
    return Scorer(ground.loaded, ground.data, ground.recipe.optimisation.memory_format, cache)


def with_memory_format(ground: Ground, memory_format: MemoryFormat) -> Ground:
    """The same ground with the memory format that all recipes of a search have."""
    return replace(ground, recipe=ground.recipe.override({"optimisation.memory_format": memory_format}))


def measurements_of(ground: Ground, device: str) -> Measurements:
    """What is known of the model's speed on this machine; where it has no GPU, on its CPU."""
    device = device_here(device)
    mixed = device == "cuda" and ground.recipe.optimisation.amp == "auto"
    return Measurements(ground.loaded, ground.data, torch.device(device), cores=core_count(), mixed=mixed)


def split_of(data: DataHandle) -> Mapping[str, Any]:
    """The content of split.json."""
    return {"fingerprint": data.fingerprint, "classes": list(data.task.classes), **data.splits.plain()}
