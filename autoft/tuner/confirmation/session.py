"""Confirmation of one search: opened when its trials are over, and concluded from what its runs left behind."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoft.data.folds import fold_count
from autoft.model import plan_stage
from autoft.recipe import Recipe
from autoft.record import Objective, TrialRecord, TrialState
from autoft.study import OptunaLedger
from autoft.training import as_run, best_weights
from autoft.tuner.conductor import BUDGET, Clock, Conductor, Deciding
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.confirmation.opening import Opening
from autoft.tuner.confirmation.plan import ConfirmPlan, again_s, ended, pair_of
from autoft.tuner.confirmation.runs import read_outcome
from autoft.tuner.confirmation.verdict import Entrant, judge, plain_verdict
from autoft.tuner.observer import Silent
from autoft.tuner.prepare import Ground
from autoft.tuner.quota import removed
from autoft.tuner.reserve import Reserve
from autoft.tuner.run_folder import RunFolder
from autoft.tuner.worker import Confirming

_PLAN = "plan"


@dataclass
class Confirmation:
    """Runs finalists again and says which one won."""

    config: ConfirmConfig
    folder: RunFolder
    ground: Ground
    objective: Objective
    open_ledger: Callable[[], OptunaLedger]
    clock: Clock
    reserve: Reserve | None
    """None where there is no time budget."""
    slots: int
    seed: int
    """Of the study."""
    note: Callable[[str], None]
    allowed: Callable[[TrialRecord], bool] = lambda _record: True
    """Whether a trial keeps to the constraints."""
    _plan: ConfirmPlan | None = None
    _ledger: OptunaLedger | None = None
    _opened: Opening | None = None
    _trials: Sequence[TrialRecord] = ()

    @property
    def told(self) -> Confirming:
        """What workers are told of it."""
        return Confirming(self.folder.confirm.resolve(), self.seed)

    def early(self, trials: Sequence[TrialRecord]) -> Conductor | None:
        """The conductor of the runs that are needed whatever the running trials come to; None where none is."""
        self._trials = trials
        return self._opening.early(trials)

    def begin(self, trials: Sequence[TrialRecord]) -> Conductor | None:
        """The conductor of what is to be run again, opened; None where nothing is."""
        opening = self._opening
        self._trials = trials
        plan = self._plan = self._planned(trials)
        if not plan.runs and opening.conductor is None:
            return None
        conductor = opening.follow(plan, trials)
        self._grows()
        self._tell("confirming", conductor)
        return conductor

    @property
    def _opening(self) -> Opening:
        if self._opened is None:
            ledger = self._ledger = self._ledger or self.open_ledger()
            self.folder.clear_runs_from(len(ledger.trials()))
            self._opened = Opening(
                self.config, self.objective, self.seed, self._conduct, self._seconds, self._able, self.allowed
            )
        return self._opened

    def _conduct(self, policy: Deciding) -> Conductor:
        assert self._ledger is not None
        reserve = self.reserve
        conductor = Conductor(
            ledger=self._ledger,
            policy=policy,
            objective=self.objective,
            clock=self.clock,
            slots=self.slots,
            observer=Silent(),
            on_trial_end=self._run_ended,
            until=(lambda _runs: reserve.runs_until(self._trials)) if reserve else None,
        )
        conductor.open()
        return conductor

    def conclude(self, trials: Sequence[TrialRecord]) -> dict[str, Any] | None:
        """What summary.json says of it; ``winner`` is None where the best by validation stays the winner."""
        plan, ledger = self._plan, self._ledger
        if plan is None or ledger is None:
            return None
        nothing = {"runs": 0, "folds": fold_count(self.ground.data), "candidates": [], "winner": None}
        if not plan.runs:
            return {**nothing, "why": plan.left_out}
        wanted = set(plan.pairs())
        ours = {pair: record for record in ledger.trials() if (pair := pair_of(record)) in wanted}
        read = {pair: read_outcome(self._path(record), self.objective) for pair, record in ours.items()}
        outcomes = {pair: outcome for pair, outcome in read.items() if outcome}
        failed = frozenset(trial for (trial, _), record in ours.items() if _has_failed(record))
        entrants = [self._entrant(trials[number], trials) for number in plan.candidates]
        late = {number for number in plan.added if not all((number, run) in outcomes for run in range(plan.runs))}
        through = [one for one in entrants if one.trial not in late - failed]
        verdict = judge(through, outcomes, failed, self.objective, groups=self.ground.data.groups)
        told = [plan.left_out, *(f"trial {number} diverged or crashed with a fresh seed" for number in sorted(failed))]
        if verdict is None:
            return {**nothing, "why": _joined("the best by validation stays: too few runs came to their end", *told)}
        best = plan.candidates[0]
        plain = plain_verdict(verdict, best=None if best in failed else best)
        dropped = [one for one in entrants if one not in verdict.entrants and one.trial not in failed]
        if dropped or len(verdict.runs) < plan.runs:
            told.append("the time budget ended before all runs did")
        return {**plain, "folds": fold_count(self.ground.data), "why": _joined(plain["why"], *told)}

    def close(self) -> None:
        """Let go of the database."""
        if self._ledger:
            self._ledger.close()

    def _planned(self, trials: Sequence[TrialRecord]) -> ConfirmPlan:
        """The plan that the study keeps, unless trials have ended since; else a new one, and kept."""
        assert self._ledger is not None
        stored = self._ledger.meta().get(_PLAN)
        if stored and stored["after"] == ended(trials) and stored["runs"] and self._all_allowed(stored, trials):
            return ConfirmPlan.from_plain(stored)
        plan = self._opening.plan(trials)
        self._keep(plan)
        return plan

    def _all_allowed(self, stored: Mapping[str, Any], trials: Sequence[TrialRecord]) -> bool:
        """Whether the candidates keep to the constraints that there are now."""
        return all(self.allowed(trials[number]) for number in stored["candidates"])

    def _seconds(self, trials: Sequence[TrialRecord], runs: Sequence[TrialRecord]) -> float:
        """Of computing, all workers together: a share of the time budget, or beside what the trials computed.

        Runs that were made while trials still ran are part of it.
        """
        share = self.config.max_share
        if self.reserve is not None:
            left_s = max(0.0, self.reserve.runs_until(trials) - self.clock.now()) * self.slots
            return min(left_s + sum(run.compute_s for run in runs), share * self.reserve.budget_s * self.slots)
        return share / (1.0 - share) * sum(record.compute_s for record in trials)

    def _able(self, record: TrialRecord) -> bool:
        return best_weights(self.folder.checkpoint(record.number)) is not None

    def _entrant(self, record: TrialRecord, trials: Sequence[TrialRecord]) -> Entrant:
        recipe = Recipe.parse(record.proposal.recipe, where=f"trial {record.number}")
        loaded = self.ground.loaded
        stages = as_run(recipe, record.curve, self.objective).stages
        touched = frozenset[int]().union(*(plan_stage(stage, loaded).trainable for stage in stages))
        return Entrant(
            record.number,
            record.proposal.origin,
            sum(loaded.card.groups[index].num_parameters for index in touched),
            again_s(record, trials, self.objective),
            head_alone=touched == {len(loaded.groups) - 1},
        )

    def _run_ended(self, conductor: Conductor) -> None:
        """Keep the folder in order, and use the time that was predicted and not needed."""
        self._tidy(conductor)
        if self._grows():
            self._tell("there is more time than expected: confirming", conductor)

    def _grows(self) -> bool:
        """Whether more is run again than was planned."""
        plan = self._plan
        if plan is None or not plan.runs or not plan.left_out:
            return False
        self._plan = self._opening.grown(plan, self._trials)
        if self._plan.pairs() == plan.pairs():
            return False
        self._keep(self._plan)
        self._opening.follow(self._plan, self._trials)
        return True

    def _keep(self, plan: ConfirmPlan) -> None:
        assert self._ledger is not None
        self._ledger.set_meta(_PLAN, plan.plain())

    def _tell(self, what: str, conductor: Conductor) -> None:
        if self._plan and self._plan.runs and conductor.trials_to_come:
            which, runs = ", ".join(str(trial) for trial in self._plan.candidates), self._plan.runs
            self.note(f"{what} trials {which}: {runs} run{'s' * (runs != 1)} of each with fresh seeds")

    def _tidy(self, conductor: Conductor) -> None:
        """What a run left beside its outcome is of no use when it has ended."""
        for record in conductor.records:
            if record.state.finished:
                removed(self._path(record) / "checkpoint")

    def _path(self, record: TrialRecord) -> Path:
        return self.folder.confirm / f"{record.number:04d}"


def _has_failed(record: TrialRecord) -> bool:
    return record.state == TrialState.FAIL or (record.state == TrialState.PRUNED and record.reason != BUDGET)


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)
