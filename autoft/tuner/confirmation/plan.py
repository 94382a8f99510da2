"""What is run again: which recipes, how often, in what order. Pure functions of the trials' records."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, Self

from autoft.recipe import Recipe
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState, best_first
from autoft.streams import stream_seed
from autoft.training import fixed_length
from autoft.training.lengths import kept_evaluation
from autoft.tuner.baselines import COMPARED
from autoft.tuner.conductor import BUDGET
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.predict import FORKED, off_by


@dataclass(frozen=True, slots=True)
class ConfirmPlan:
    """Run s of all candidates comes before run s + 1 of any."""

    after: int
    """Trials that had ended when it was made."""
    candidates: tuple[int, ...]
    """Trials, the most important first."""
    runs: int
    """Of each."""
    left_out: str = ""
    """A sentence about what did not fit."""
    added: tuple[int, ...] = ()
    """Those of the candidates for which there was time only in the end."""

    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Trial and run, in the order in which they are run."""
        return tuple((trial, run) for run in range(self.runs) for trial in self.candidates)

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """The inverse of `plain`."""
        return cls(**{**plain, "candidates": tuple(plain["candidates"]), "added": tuple(plain.get("added", ()))})


def ended(records: Sequence[TrialRecord]) -> int:
    """How many trials have ended: as long as it stays, so does the plan."""
    return sum(record.state.finished for record in records)


@dataclass(frozen=True, kw_only=True, slots=True)
class Terms:
    """What a plan is made by."""

    objective: Objective
    config: ConfirmConfig
    seconds: float
    """Of computing, all workers together."""
    able: Callable[[TrialRecord], bool] = lambda _record: True
    """Whether a trial's weights are still there: only then can it win."""
    allowed: Callable[[TrialRecord], bool] = lambda _record: True
    """Whether a trial keeps to the constraints; asked of the best ones, until there are enough."""

    def finalists(self, records: Sequence[TrialRecord], *, places_taken: int = 0) -> list[TrialRecord]:
        """`finalists`, with so many places among the best taken."""
        return finalists(records, self.objective, max(0, self.config.top - places_taken), self.allowed)

    def candidates(self, records: Sequence[TrialRecord]) -> list[TrialRecord]:
        """All that would be run again were there time for all, the most important first."""
        return [record for record in self.finalists(records) if self.able(record)]


def plan_runs(records: Sequence[TrialRecord], terms: Terms) -> ConfirmPlan:
    """What fits into the seconds: fewer candidates before fewer runs, the costliest last resort first.

    The best and the two baselines to which it is compared come first of all: once where there is no time for twice.
    """
    seconds, config = terms.seconds, terms.config
    wanted = terms.candidates(records)
    costs = {record.number: again_s(record, records, terms.objective) for record in wanted}
    best = wanted[:1]
    for needed in ([*best, *(record for record in wanted[1:] if record.baseline in COMPARED)], best):
        for runs in range(config.seeds, 0, -1):
            fitting, spent = [], 0.0
            for record in wanted:
                if spent + runs * costs[record.number] <= seconds:
                    fitting.append(record)
                    spent += runs * costs[record.number]
            if all(one in fitting for one in needed) and len(fitting) >= min(2, max(1, len(wanted))):
                numbers = tuple(record.number for record in fitting)
                return ConfirmPlan(ended(records), numbers, runs, _left_out(wanted, fitting, runs, config))
    return ConfirmPlan(ended(records), (), 0, f"nothing was run again: {_too_long(list(costs.values()), seconds)}")


def _too_long(costs: Sequence[float], seconds: float) -> str:
    """Why not even the best and the cheapest of the others fit; costs in the order of their importance."""
    if not costs:
        return "no trial has a value"
    least_s, share = costs[0] + min(costs[1:], default=0.0), f"confirmation's share was {seconds:.3g} s"
    return f"the best{' and another one take' if costs[1:] else ' takes'} {least_s:.3g} s, {share}"


def grown(
    plan: ConfirmPlan, records: Sequence[TrialRecord], made: Sequence[TrialRecord], terms: Terms, *, workers: int
) -> ConfirmPlan:
    """The plan, and what of the rest fits as well now that some runs have ended sooner than was predicted.

    Another run of all candidates comes before a candidate that was left out, which so waits for its turn until all
    planned runs have been started. Nothing of the plan is dropped.

    Args:
        plan: that is followed.
        records: all trials.
        made: the runs so far.
        terms: what plans are made by, now.
        workers: runs at a time; each must come to its end in time.
    """
    wanted = terms.candidates(records)
    costs = {record.number: again_s(record, records, terms.objective) for record in wanted}
    over = {pair_of(run) for run in made if run.state.finished and run.reason != BUDGET}
    left_s = terms.seconds - sum(run.compute_s for run in made)

    def fits(larger: ConfirmPlan) -> bool:
        open_s = [costs.get(trial, math.inf) for trial, run in larger.pairs() if (trial, run) not in over]
        return sum(open_s) + (workers - 1) * max(open_s, default=0.0) <= left_s

    while plan.runs < terms.config.seeds and fits(more := replace(plan, runs=plan.runs + 1)):
        plan = more
    started = {pair_of(run) for run in made}.issuperset(plan.pairs())
    others = [record.number for record in wanted if record.number not in plan.candidates]
    for number in others if started or plan.runs == terms.config.seeds else ():
        more = replace(plan, candidates=(*plan.candidates, number), added=(*plan.added, number))
        plan = more if fits(more) else plan
    kept = [record for record in wanted if record.number in plan.candidates]
    return replace(plan, left_out=_left_out(wanted, kept, plan.runs, terms.config))


def certain(records: Sequence[TrialRecord], terms: Terms) -> ConfirmPlan:
    """Of `plan_runs`, what stays in it although trials still run: the baselines, and leaders whom they cannot displace.

    Every running trial may come to be better than all others, so it takes one of the ``config.top`` places; a paused
    one has the place that its best value gives, and is not run before it has ended. It is no more than likely where
    time is short, or where a paused trial is thawed after all: then a run was made that nobody needs.

    Args:
        records: all trials; no more will be started.
        terms: what the plan is made by.
    """
    running = sum(not (record.state.finished or record.paused) for record in records)
    standing = [replace(record, state=TrialState.PRUNED) if record.paused else record for record in records]
    plan = plan_runs(standing, terms)
    sure = {record.number for record in terms.finalists(standing, places_taken=running)}
    kept = tuple(each for each in plan.candidates if each in sure and records[each].state.finished)
    return replace(plan, after=ended(records), candidates=kept, runs=plan.runs if kept else 0)


def finalists(
    records: Sequence[TrialRecord],
    objective: Objective,
    top: int,
    allowed: Callable[[TrialRecord], bool] = lambda _record: True,
) -> list[TrialRecord]:
    """The best trials and all baselines with a value, as far as they are allowed to win, the most important first."""
    valued = [record for record in best_first(records, objective) if record.state.finished]
    ranked = list(islice(filter(allowed, valued), top))  # to ask costs a pass through the model
    references = [record for record in valued if record.baseline and allowed(record)]
    references.sort(key=lambda record: record.number)
    first = [record for record in references if record.baseline in COMPARED]
    others = [record for record in references if record.baseline not in COMPARED]
    return list({record.number: record for record in (*ranked[:1], *first, *ranked[1:], *others)}.values())


def again_s(record: TrialRecord, records: Sequence[TrialRecord], objective: Objective) -> float:
    """Seconds that a trial as run takes on one worker: what was predicted, times what predictions were off by."""
    kept = _kept(record, objective)
    per_epoch = record.proposal.predicted
    if per_epoch:
        predicted = sum(per_epoch.get(each.stage, 0.0) * each.epoch for each in kept)
        return predicted * off_by(records)
    last = kept[-1].index
    counted = [each for each in record.curve if each.index <= last]
    return sum(each.compute_s + (each.saved_s if each.reused.startswith(FORKED) else 0.0) for each in counted)


def runs_s(records: Sequence[TrialRecord], objective: Objective, config: ConfirmConfig, *, slots: int) -> float | None:
    """Seconds that all runs would take on so many workers, were the best so far those that are run again.

    A trial that has not ended counts with the whole length of its recipe. None while there are too few to say.
    """
    valued = best_first(records, objective)
    references = [record for record in valued if record.baseline]
    best = [record for record in valued if not record.baseline][: config.top]
    if len(best) < config.top or not references:
        return None
    each = [_to_the_end_s(record, records, objective) for record in (*references, *best)]
    return config.seeds * sum(each) / slots + max(each) * (1 - 1 / slots)


def _to_the_end_s(record: TrialRecord, records: Sequence[TrialRecord], objective: Objective) -> float:
    """`again_s` of a trial that has ended; of another one as if it ran its whole length."""
    per_epoch, stages = record.proposal.predicted, record.proposal.recipe["stages"]
    if record.state.finished or not per_epoch:
        return again_s(record, records, objective)
    come = {each.stage: each.epoch for each in record.curve}
    epochs = {stage["name"]: stage.get("epochs") or come.get(stage["name"], 0.0) for stage in stages}
    return sum(per_epoch.get(name, 0.0) * count for name, count in epochs.items()) * off_by(records)


def run_proposal(record: TrialRecord, run: int, objective: Objective, *, seed: int) -> Proposal:
    """The recipe of a run: the trial as run, with a fixed length and a fresh seed."""
    recipe = Recipe.parse(record.proposal.recipe, where=f"trial {record.number}")
    fixed = fixed_length(recipe, record.curve, objective).model_copy(update={"seed": fresh_seed(seed, run)})
    return Proposal(fixed.full(), origin_of(record.number, run), predicted=record.proposal.predicted)


def fresh_seed(seed: int, run: int) -> int:
    """The seed of all recipes in a run."""
    return stream_seed(seed, "confirm", run) % 2**31


def origin_of(trial: int, run: int) -> str:
    """How a run is named in the ledger."""
    return f"confirm:{trial}:{run}"


def pair_of(record: TrialRecord) -> tuple[int, int]:
    """Trial and run of a record in the confirmation's ledger."""
    _, trial, run = record.proposal.origin.split(":")
    return int(trial), int(run)


def _kept(record: TrialRecord, objective: Objective) -> list[Evaluation]:
    """The evaluation that each stage ended with, up to the stage of the best one."""
    best = record.best(objective)
    assert best is not None
    names = list(dict.fromkeys(each.stage for each in record.curve))
    names = names[: names.index(best.stage) + 1]
    return [kept for name in names if (kept := kept_evaluation(record.curve, name, objective))]


def _left_out(wanted: Sequence[TrialRecord], kept: Sequence[TrialRecord], runs: int, config: ConfirmConfig) -> str:
    numbers = [str(record.number) for record in wanted if record not in kept]
    parts = [f"trial{'s' * (len(numbers) > 1)} {', '.join(numbers)} left out"] if numbers else []
    if runs < config.seeds:
        parts.append(f"{runs} of {config.seeds} runs of each")
    return f"for lack of time: {' and '.join(parts)}" if parts else ""
