"""What a search tries first after its baselines, decided once per study."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from autoft.model.freeze import Grouped
from autoft.recipe import Recipe
from autoft.space import SearchSpace
from autoft.space.portfolio import drawable, drawable_base, head_options
from autoft.study import Ledger
from autoft.tuner.baselines import COMPARED
from autoft.tuner.config import SearchConfig
from autoft.tuner.layout import device_here
from autoft.tuner.policy import Policy
from autoft.tuner.portfolio import Named, in_order, kept_portfolio, trained_groups, without_repeats
from autoft.tuner.prepare import Ground, baselines_of, shipped_portfolio
from autoft.tuner.probe import Probed, least_promising, limits_once, probe_once
from autoft.tuner.units import UnitCounter
from autoft.tuner.warm_start import DEPTH, carried_over, earlier_study
from autoft.tuner.worker import WorkerContext

_AT_ONCE = 0.25
"""Of the time for trials, on all slots together: what a baseline may take of it before anything else is tried."""


def probed(
    config: SearchConfig,
    space: SearchSpace,
    ledger: Ledger,
    context: WorkerContext,
    ground: Ground,
    *,
    deadline: float | None = None,
    notify: Callable[[str], None],
) -> Probed | None:
    """The study's probe, which is over at the deadline (seconds since the epoch); None where there is none."""
    if config.search.probe == "off":
        return None
    base = drawable_base(space, ground.recipe)
    options = head_options(space, base) or {"base": {}}
    openings = [recipe for _, recipe in baselines_of(ground) if recipe.stages[0].head_only]
    here = replace(context, device=device_here(context.device))
    return probe_once(
        ledger, here, base, options, openings=openings, loaded=ground.loaded, deadline=deadline, notify=notify
    )


def limited(
    space: SearchSpace,
    ledger: Ledger,
    context: WorkerContext,
    ground: Ground,
    *,
    found: Probed | None,
    deadline: float | None = None,
    notify: Callable[[str], None],
) -> Probed | None:
    """What the probe has found, with the rates that are too high: tried now, unless the study has them."""
    if found is None or found.head is None or found.rates is not None:
        return found
    base = drawable_base(space, ground.recipe)
    opening = base.override(head_options(space, base).get(found.head, {}))
    here = replace(context, device=device_here(context.device))
    return limits_once(ledger, here, base, opening, found, loaded=ground.loaded, deadline=deadline, notify=notify)


def first_in_line(
    config: SearchConfig,
    ground: Ground,
    space: SearchSpace,
    ledger: Ledger,
    *,
    found: Probed | None,
    notify: Callable[[str], None],
) -> tuple[Named, ...]:
    """What the study keeps, else an earlier search's winners and the portfolio, of which the cheapest comes first.

    The portfolio's recipes start from the head that was the probe's best. Where features further down are better than
    those at the top, one that trains no more than the groups above them is unlikely to win, as is one at a rate that
    broke the probe's training: they come later (`in_order`), and none is left out.

    Raises:
        UnknownNameError: the earlier search is not known.
    """
    model = ground.loaded
    if DEPTH not in ledger.meta():
        ledger.set_meta(DEPTH, model.card.depth)
    if config.search.portfolio == "off" and config.search.warm_start is None:
        return ()
    objective, items = ground.data.task.objective(config.search.metric), len(ground.data.splits.val)
    needed = least_promising(found, objective, items=items)
    units = UnitCounter(model, ground.data)

    def unlikely(recipe: Recipe) -> bool:
        too_hot = bool(found and found.rates and found.rates.exceeded(recipe, model))
        return too_hot or too_shallow(recipe, model, needed)

    def made() -> tuple[Named, ...]:
        before = earlier_study(config)
        earlier = carried_over(before, ground.recipe, model, space, notify=notify) if before else ()
        head = _best_head(space, ground.recipe, found)
        shipped = [(name, drawable(space, one, head) or one) for name, one in shipped_portfolio(config, ground, space)]
        known = [recipe for _, recipe in baselines_of(ground)]
        return without_repeats((*earlier, *in_order(shipped, units.total, unlikely)), model, known=known)

    return kept_portfolio(ledger, space, made)


def too_shallow(recipe: Recipe, model: Grouped, needed: int) -> bool:
    """Whether a recipe trains no more than the top groups whose features are worse than those below; or the head alone.

    Args:
        recipe: with a head.
        model: its groups.
        needed: how many groups from the top are worth retraining (`least_promising`); 0: none.
    """
    return needed > 0 and trained_groups(recipe, model) <= needed


def for_a_budget(policy: Policy, seconds: Callable[[Recipe], float], *, slot_s: float) -> Policy:
    """The policy with what a short budget changes: a dear baseline comes where its cost puts it in the portfolio.

    Those that the winner is compared with stay the first.

    Args:
        policy: of the search.
        seconds: that a recipe is predicted to take.
        slot_s: seconds that there are for trials, on all slots together.
    """
    costs = [seconds(recipe) for _, recipe in policy.portfolio]
    found = {name: seconds(recipe) for name, recipe in policy.baselines}
    dear = [name for name, cost in found.items() if name not in COMPARED and cost > _AT_ONCE * slot_s]
    return replace(policy, postponed={name: sum(other < found[name] for other in costs) for name in dear})


def _best_head(space: SearchSpace, base: Recipe, found: Probed | None) -> Mapping[str, Any]:
    """The changes that make the opening stage the probe's best; none where it has none."""
    return head_options(space, base).get(found.head or "", {}) if found else {}
