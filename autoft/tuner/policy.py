"""The search policy: what to try next, and what becomes of a trial. Pure Python over records."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from autoft.pruning import CurveTable, Diverged, PruneConfig, Rule, any_of, build_rules
from autoft.recipe import Recipe
from autoft.record import Action, Decision, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.halving import opening_stages, planned_evaluations
from autoft.tuner.sampler import Sampler
from autoft.tuner.schedulers import SchedulerName, scheduler_rule
from autoft.tuner.stopping import not_worth_it
from autoft.tuner.thaw import Cost, FreezeThaw, Thaw, counted_cost

CRASHES_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Baselines, the portfolio, then the sampler; pruning rules, then a scheduler that stops trials or pauses them.

    It holds no state but memos: the same records give the same answers, so a resumed search goes on as an uninterrupted
    one.
    """

    objective: Objective
    sampler: Sampler
    baselines: Sequence[tuple[str, Recipe]]
    """Name and recipe, cheapest first. They are references: nothing but a divergence stops them."""
    portfolio: Sequence[tuple[str, Recipe]] = ()
    """Name and recipe of what is tried next, in this order: good elsewhere, and judged as any other."""
    postponed: Mapping[str, int] = field(default_factory=dict)
    """Baselines that would take much of a short budget, and how many of the portfolio's recipes come before each."""
    num_samples: int
    """Recipes to try, baselines included."""
    scheduler: SchedulerName = "thaw"
    grace_period: int = 2
    """Evaluations (thaw: units of cost) before a trial is compared with others."""
    reduction_factor: int = 3
    prune: PruneConfig = field(default_factory=PruneConfig)
    min_gain: float | None = None
    """The search is enough when the recipes to come are expected to better the best value by less; None: never."""
    cost: Cost = counted_cost
    """Cost of an evaluation, for thaw."""
    _table: CurveTable = field(init=False, repr=False, compare=False)
    _halving: FreezeThaw = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        halving = FreezeThaw(
            objective=self.objective,
            grace_period=self.grace_period,
            reduction_factor=self.reduction_factor,
            cost=self.cost,
        )
        object.__setattr__(self, "_table", CurveTable(self.objective))
        object.__setattr__(self, "_halving", halving)

    @property
    def pauses(self) -> bool:
        """Whether a trial may pause, so that another one's report may bring about its thaw."""
        return self.scheduler == "thaw"

    def thaw(self, records: Sequence[TrialRecord], *, last: bool = False) -> Thaw | None:
        """The paused trial to go on with before anything new is started; None when there is none.

        Args:
            records: all trials of the study.
            last: no recipe is left, although fewer than ``num_samples`` were started.
        """
        return self._halving.thaw(records, last=last or self._last(records)) if self.pauses else None

    def next(self, records: Sequence[TrialRecord]) -> Proposal | None:
        """The next recipe to try; None when a thaw is next, the search is `enough` or the space is exhausted.

        Trials that were interrupted are for the runner to go on with; they count as started.
        """
        if len(records) >= self.num_samples or self.thaw(records):
            return None
        started = {record.proposal.origin for record in records}
        for origin, recipe in self.first_in_line:
            if origin not in started:
                return self.sampler.locate(recipe, origin)
        return None if self.enough(records) else self.sampler.propose(records, len(records))

    @property
    def first_in_line(self) -> list[tuple[str, Recipe]]:
        """Origin and recipe of all that is tried before anything is drawn: baselines, then the portfolio."""
        first, later = list[tuple[str, Recipe]](), [(f"portfolio:{name}", recipe) for name, recipe in self.portfolio]
        for name, recipe in reversed(self.baselines):
            line, place = (later, self.postponed[name]) if name in self.postponed else (first, 0)
            line.insert(place, (f"baseline:{name}", recipe))
        return [*first, *later]

    def enough(self, records: Sequence[TrialRecord]) -> str | None:
        """Why no more recipes are drawn, in words; None while there are some to try."""
        if len(records) >= self.num_samples:
            return (
                "the only recipe was tried" if self.num_samples == 1 else f"all {self.num_samples} recipes were tried"
            )
        more = self.num_samples - len(records)
        return not_worth_it(records, self.objective, more=more, min_gain=self.min_gain)

    def judge(self, record: TrialRecord, records: Sequence[TrialRecord], *, done: bool = False) -> Decision:
        """What becomes of a trial after the last evaluation of its curve: it goes on, it pauses, or it stops.

        Args:
            record: the trial, with the new evaluation.
            records: all trials of the study; the trial itself among them is passed over.
            done: whether the trial has run its length. Then only a divergence can be said of it.
        """
        peers = self._table.peers(((other.number, other.curve) for other in records), without=record.number)
        reference = self._is_reference(record, done=done)
        decision = self._rule(record, records, reference=reference)(record.curve, peers, self.objective)
        if decision.action == Action.CONTINUE and self.pauses and not reference:
            return self._halving.judge(record, records, last=self._last(records))
        return decision

    def failure(self, records: Sequence[TrialRecord]) -> str | None:
        """The cause when the three trials that ended last crashed for the same one; verdicts are no crashes."""
        ended = [record for record in records if record.state.finished]
        ended.sort(key=lambda record: (record.ended is None, record.ended or 0, record.number))
        last = ended[-CRASHES_IN_A_ROW:]
        if len(last) < CRASHES_IN_A_ROW or any(record.state != TrialState.FAIL for record in last):
            return None
        same = len({_cause(record.reason_text) for record in last}) == 1
        return last[-1].reason_text if same else None

    def _is_reference(self, record: TrialRecord, *, done: bool) -> bool:
        """Whether only a divergence can stop the trial now: a baseline, an opening head stage, its planned end."""
        planned = planned_evaluations(record.proposal.recipe)
        done = done or (planned is not None and len(record.curve) >= planned)
        return done or bool(record.baseline) or record.curve[-1].stage in opening_stages(_stages(record))

    def _rule(self, record: TrialRecord, records: Sequence[TrialRecord], *, reference: bool) -> Rule:
        if reference:
            return Diverged(non_finite=self.prune.diverged)
        stages = _stages(record)
        scheduler = scheduler_rule(
            self.scheduler,
            record,
            lambda those: self._table.peers(
                ((other.number, other.curve) for other in records if those(other)), without=record.number
            ),
            grace_period=self.grace_period,
            reduction_factor=self.reduction_factor,
            min_peers=self.prune.min_peers,
        )
        last_stage = record.curve[-1].stage == stages[-1]["name"]
        return any_of(build_rules(self.prune, grace_period=self.grace_period, last_stage=last_stage), scheduler)

    def _last(self, records: Sequence[TrialRecord]) -> bool:
        """Whether no more recipes will be started."""
        return len(records) >= self.num_samples


def _stages(record: TrialRecord) -> Sequence[Mapping[str, Any]]:
    stages: Sequence[Mapping[str, Any]] = record.proposal.recipe["stages"]
    return stages


def _cause(text: str) -> str:
    """A crash's type and message without what differs from one time to the next: paths, addresses, numbers."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return re.sub(r"0x[0-9a-fA-F]+|\d+(\.\d+)?", "#", re.sub(r"[^\s'\"]*/[^\s'\"]*", "PATH", line))
