"""What of a time budget is kept for the end of a search, judged anew by what this search has measured. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from autoft.data import DataHandle
from autoft.model import MICRO_BATCH
from autoft.record import Objective, TrialRecord
from autoft.training.forgetting import MOST_ITEMS
from autoft.training.gains import SHARES
from autoft.tuner.config import SearchConfig
from autoft.tuner.confirmation.config import ConfirmConfig
from autoft.tuner.confirmation.plan import runs_s
from autoft.tuner.predict import off_by

_SCORED = 4
"""Models that are scored on the test split: the winner and three baselines."""
_COMPARED = 4
"""Models that are compared on the validation split before one is delivered."""
_TRIED = 2 + len(SHARES) + 4
"""The winner, its average, points on the line, and as many trials as are left of most searches for a soup."""
_LAST_STEPS_S = 4.0
"""For the step that a trial is at, its checkpoint, the end of the workers, and writing the result."""
_SHARE = 0.05
"""Of the time budget that is kept free at most for what is good to have; more of it is used where it is left over."""
_AT_MOST = 0.25
"""Of the time budget that is kept for the end at most, without confirmation."""
_OFF_BY = (0.5, 4.0)
"""Within what is believed of how far predictions are off: a few steps on a busy machine say little."""
_SPARE = 1.25
"""Times what the recipes so far would take to be run again: the next ones may take longer."""


def micro_batches(*passes: int) -> int:
    """In passes over so many items each."""
    return sum(math.ceil(items / MICRO_BATCH) for items in passes)


@dataclass(frozen=True, slots=True)
class Passes:
    """Micro-batches that go through the model at the end of a search."""

    needed: int
    """To compare weights and to score the test split."""
    wanted: int
    """For what is good to have: gains, forgetting."""

    @classmethod
    def of(cls, config: SearchConfig, data: DataHandle) -> "Passes":
        """As the configuration has it."""
        test, val = len(data.splits.test), len(data.splits.val)
        few = min(MOST_ITEMS, val)
        gains, forgetting = config.search.gains == "on", config.search.forgetting == "on"
        needed = [test] * (_SCORED + gains) + [val] * (_COMPARED if config.confirm.top else 0)
        needed += [few] * (_SCORED if config.search.constraints.min_retention is not None else 0)
        wanted = [val] * (_TRIED if gains else 0) + [few] * (_SCORED if forgetting else 0)
        return cls(micro_batches(*needed), micro_batches(*wanted))


@dataclass(frozen=True)
class Reserve:
    """Asked for the moments at which trials, and the runs of confirmation, are to end.

    A trial that has ended shows how long it takes to run again, and how far predictions are off on this machine now. So
    the trials of a short budget get what the end of the search does not need, and no more than that.

    Args:
        end: seconds since the epoch at which the result is to be written.
        budget_s: of the whole search.
        passes: at the end.
        pass_s: predicted seconds of a micro-batch.
        confirm: how the best are run again.
        objective: what decides.
        slots: trials at a time.
        share_s: seconds that confirmation is given at most.
    """

    end: float
    budget_s: float
    passes: Passes
    pass_s: float
    confirm: ConfirmConfig
    objective: Objective
    slots: int
    share_s: float = math.inf

    def runs_until(self, records: Sequence[TrialRecord] = ()) -> float:
        """Until when runs of confirmation may train."""
        return self.end - self.closing_s(records)

    def trials_until(self, records: Sequence[TrialRecord] = ()) -> float:
        """Until when trials may train."""
        return self.runs_until(records) - self.confirming_s(records)

    def closing_s(self, records: Sequence[TrialRecord] = ()) -> float:
        """Seconds from the last step of a run to the written result."""
        low, high = _OFF_BY
        pass_s = self.pass_s * min(max(off_by(records), low), high)
        wanted_s = min(self.passes.wanted * pass_s, _SHARE * self.budget_s)
        return min(_LAST_STEPS_S + self.passes.needed * pass_s + wanted_s, _AT_MOST * self.budget_s)

    def confirming_s(self, records: Sequence[TrialRecord] = ()) -> float:
        """Seconds of confirmation: its share, or what the runs take where that is known and less."""
        if not self.confirm.top:
            return 0.0
        needed_s = runs_s(records, self.objective, self.confirm, slots=self.slots)
        return self.share_s if needed_s is None else min(self.share_s, _SPARE * needed_s)
