"""The search policy: what to try next, and what becomes of a trial. Pure Python over records."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from autoft.pruning import Diverged, Nothing, PruneConfig, Rule, any_of, build_rules
from autoft.recipe import Recipe
from autoft.record import Decision, Objective, Proposal, TrialRecord, TrialState
from autoft.tuner.halving import Halving, planned_evaluations
from autoft.tuner.sampler import Sampler

CRASHES_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class Policy:
    """Baselines first, then the sampler; pruning rules, then asynchronous successive halving.

    It holds no state: the same records give the same answers, so a resumed search goes on as an uninterrupted one.
    """

    objective: Objective
    sampler: Sampler
    baselines: Sequence[tuple[str, Recipe]]
    """Name and recipe, cheapest first. They are references: nothing but a divergence stops them."""
    num_samples: int
    """Recipes to try, baselines included."""
    scheduler: Literal["asha", "none"] = "asha"
    grace_period: int = 2
    """Evaluations before a trial is compared with others."""
    reduction_factor: int = 3
    prune: PruneConfig = field(default_factory=PruneConfig)

    def next(self, records: Sequence[TrialRecord]) -> Proposal | None:
        """The next recipe to try; None when ``num_samples`` were started or the space is exhausted.

        Trials that wait in the ledger are for the runner to go on with; they count as started.
        """
        if len(records) >= self.num_samples:
            return None
        tried = {record.baseline for record in records}
        for name, recipe in self.baselines:
            if name not in tried:
                return self.sampler.locate(recipe, f"baseline:{name}")
        return self.sampler.propose(records, len(records))

    def judge(self, record: TrialRecord, records: Sequence[TrialRecord], *, done: bool = False) -> Decision:
        """What becomes of a trial after the last evaluation of its curve: it goes on, or it stops.

        Args:
            record: the trial, with the new evaluation.
            records: all trials of the study; the trial itself among them is passed over.
            done: whether the trial has run its length. Then only a divergence can be said of it.
        """
        peers = [other.curve for other in records if other.number != record.number and other.curve]
        return self._rule(record, done=done)(record.curve, peers, self.objective)

    def failure(self, records: Sequence[TrialRecord]) -> str | None:
        """The cause when the three trials that ended last crashed for the same one; verdicts are no crashes."""
        ended = [record for record in records if record.state.finished]
        ended.sort(key=lambda record: (record.ended is None, record.ended or 0, record.number))
        last = ended[-CRASHES_IN_A_ROW:]
        if len(last) < CRASHES_IN_A_ROW or any(record.state != TrialState.FAIL for record in last):
            return None
        same = len({_cause(record.reason_text) for record in last}) == 1
        return last[-1].reason_text if same else None

    def _rule(self, record: TrialRecord, *, done: bool) -> Rule:
        stage, stages = record.curve[-1].stage, record.proposal.recipe["stages"]
        opening = _opening(stages)
        planned = planned_evaluations(record.proposal.recipe)
        done = done or (planned is not None and len(record.curve) >= planned)
        if done or record.baseline or stage in opening:
            return Diverged(non_finite=self.prune.diverged)
        halving = Nothing() if self.scheduler == "none" else Halving(self.grace_period, self.reduction_factor, opening)
        last_stage = stage == stages[-1]["name"]
        return any_of(build_rules(self.prune, grace_period=self.grace_period, last_stage=last_stage), halving)


def _opening(stages: Sequence[dict[str, object]]) -> frozenset[str]:
    """The head stages at the beginning, if others follow: what unfreezing brings cannot be judged by them."""
    names: list[str] = []
    for stage in stages[:-1]:
        if stage.get("unfreeze", 0) != 0:
            break
        names.append(str(stage["name"]))
    return frozenset(names)


def _cause(text: str) -> str:
    """A crash's type and message without what differs from one time to the next: paths, addresses, numbers."""
    line = text.strip().splitlines()[0] if text.strip() else ""
    return re.sub(r"0x[0-9a-fA-F]+|\d+(\.\d+)?", "#", re.sub(r"[^\s'\"]*/[^\s'\"]*", "PATH", line))
