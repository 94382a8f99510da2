"""What a search would do and cost, told before anything is spent: no Ray, no run folder."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoft.errors import ConfigError
from autoft.record import ModelCard, Objective
from autoft.tuner.config import SearchConfig
from autoft.tuner.constraints import Constraints
from autoft.tuner.forecast import Outlook, deepened, look_ahead
from autoft.tuner.latency import latency_ms
from autoft.tuner.layout import choose_layout, device_here, room_for
from autoft.tuner.portfolio import Named, in_order
from autoft.tuner.prepare import (
    Ground,
    asked_metrics,
    baselines_of,
    check_before_spending,
    lay_ground,
    measurements_of,
    search_space,
    shipped_portfolio,
    with_memory_format,
)
from autoft.tuner.reserve import Passes, Reserve
from autoft.tuner.units import UnitCounter

START_S = 20.0
"""From the command to the first training step: imports, Ray, workers."""


@dataclass(frozen=True)
class Preview:
    """A search, foreseen."""

    model: ModelCard
    data: Mapping[str, Any]
    objective: Objective
    outlook: Outlook
    num_samples: int
    baselines: Mapping[str, float]
    """Predicted seconds of each."""
    portfolio: Mapping[str, float]
    """Likewise, of the recipes that are tried next, the cheapest first; the probe may change their order."""
    depths: Mapping[int, tuple[float, float]]
    """Predicted seconds of the base recipe by the number of groups that its last stage trains: with reuse, without."""
    time_budget_s: float | None
    affords: int | None
    """Trials that fit into the time budget; None without one, or where nothing is known."""
    wall_s: float | None
    """Predicted seconds of the whole search, were there no budget."""

    def plain(self) -> dict[str, Any]:
        """As ``autoft plan --json`` prints it."""
        return {
            "model": self.model.name,
            "data": dict(self.data),
            "metric": self.objective.metric,
            "num_samples": self.num_samples,
            "baselines": {name: round(seconds, 3) for name, seconds in self.baselines.items()},
            "portfolio": {name: round(seconds, 3) for name, seconds in self.portfolio.items()},
            "depths": {
                str(depth): {"predicted_s": round(seconds, 3), "without_reuse_s": round(without, 3)}
                for depth, (seconds, without) in self.depths.items()
            },
            "plan": self.outlook.forecast.plain(),
            "time_budget_s": self.time_budget_s,
            "affords": self.affords,
            "wall_s": None if self.wall_s is None else round(self.wall_s, 1),
        }


def preview(config: SearchConfig, *, notify: Callable[[str], None]) -> Preview:
    """Look at what a search would do; images are decoded and the model's speed is measured, if that is not known yet.

    Raises:
        ConfigError: no data, or a search that could not run.
        AutoftError: as `autoft.search`.
    """
    if config.data.source is None:
        raise ConfigError("data.source: is required; give a folder, a manifest, an .npz file or digits")
    base = config.base_recipe()
    room = room_for(config.resources, trials=config.search.num_samples)
    check_before_spending(config, base, None)
    ground = lay_ground(
        base, config.data.source, metrics=asked_metrics(config), max_bytes=config.data.max_bytes, notify=notify
    )
    for note in ground.notes:
        notify(note)
    objective = ground.data.task.objective(config.search.metric)
    measured = measurements_of(ground, room.slots(1).runs_on)
    layout = choose_layout(ground.recipe, config.resources, room, measured, stored=None)
    ground = with_memory_format(ground, layout.memory_format)
    if config.search.constraints.max_latency_ms is not None:
        found = latency_ms(ground, device_here(layout.slots.runs_on))
        Constraints(config.search.constraints, ground.loaded).check_latency(found, ground.recipe.data.image_size)
    space = search_space(config, ground, None)
    outlook = look_ahead(config, ground, space, objective, layout, measured)
    counter = UnitCounter(ground.loaded, ground.data)
    return _previewed(
        config, ground, objective, outlook, in_order(shipped_portfolio(config, ground, space), counter.total)
    )


def _previewed(
    config: SearchConfig, ground: Ground, objective: Objective, outlook: Outlook, portfolio: Sequence[Named]
) -> Preview:
    card, budget, samples = ground.loaded.card, config.search.time_budget_s, config.search.num_samples
    known = {name: outlook.totals(recipe) for name, recipe in baselines_of(ground)}
    costs = {name: found[0] for name, found in known.items() if found}
    others_first = {name: outlook.totals(recipe) for name, recipe in portfolio[: max(0, samples - len(costs))]}
    depths = {depth: outlook.totals(deepened(ground, depth)) for depth in range(card.depth + 1)}
    forecast = outlook.forecast
    closing_s = _closing_s(config, ground, objective, outlook)
    around_s = START_S + closing_s + forecast.building_s
    affords = wall_s = None
    if forecast.trials_s is not None:
        wall_s = around_s + forecast.trials_s / forecast.layout.slots.count
        others = samples - len(costs)
        mean_s = (forecast.trials_s - sum(costs.values())) / others if others > 0 else max(costs.values())
        if budget is not None:
            share = config.confirm.max_share if config.confirm.top else 0.0
            trials_s = (budget - around_s) * (1.0 - share)
            affords = affordable(list(costs.values()), mean_s, trials_s * forecast.layout.slots.count)
    return Preview(
        model=card,
        data=ground.data.summary(),
        objective=objective,
        outlook=outlook,
        num_samples=samples,
        baselines=costs,
        portfolio={name: found[0] for name, found in others_first.items() if found},
        depths={depth: found for depth, found in depths.items() if found},
        time_budget_s=budget,
        affords=affords,
        wall_s=wall_s,
    )


def _closing_s(config: SearchConfig, ground: Ground, objective: Objective, outlook: Outlook) -> float:
    """Seconds from the last training step to the written result; 0 where nothing is known."""
    if outlook.predictor is None:
        return 0.0
    budget_s = config.search.time_budget_s or math.inf
    passes, slots = Passes.of(config, ground.data), outlook.forecast.layout.slots.count
    return Reserve(math.inf, budget_s, passes, outlook.predictor.pass_s, config.confirm, objective, slots).closing_s()


def affordable(baselines_s: Sequence[float], mean_s: float, slot_s: float) -> int:
    """How many trials fit into so many seconds of all slots: the baselines first, then others of the mean cost."""
    count = 0
    for cost_s in baselines_s:
        if cost_s > slot_s:
            return count
        slot_s, count = slot_s - cost_s, count + 1
    return count + int(slot_s / max(mean_s, 1e-6))
