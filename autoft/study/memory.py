"""The ledger that lives in memory: the twin for tests and simulations, and what a stored one reads from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Self

from autoft.errors import StorageError, UnknownNameError
from autoft.record import Evaluation, Objective, Proposal, TrialRecord, TrialState


class MemoryLedger:
    """A `Ledger` that keeps nothing beyond the process."""

    def __init__(self, objective: Objective, records: Iterable[TrialRecord] = ()) -> None:
        self.objective = objective
        self._records = {record.number: record for record in records}
        self._meta: dict[str, Any] = {}

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials in the order in which they were started."""
        return tuple(self._records.values())

    def trial(self, number: int) -> TrialRecord:
        """One trial.

        Raises:
            UnknownNameError: the study has no such trial.
        """
        if number not in self._records:
            raise UnknownNameError(f"the study has no trial {number}; it has {len(self._records)}, counted from 0")
        return self._records[number]

    def start(self, proposal: Proposal) -> int:
        """Begin a trial."""
        number = len(self._records)
        self._records[number] = TrialRecord(number, TrialState.RUNNING, Proposal.from_plain(as_json(proposal.plain())))
        return number

    def report(self, number: int, evaluation: Evaluation) -> None:
        """Keep an evaluation of a trial that has not ended."""
        self._records[number] = self._evaluated(number, evaluation)

    def finish(self, number: int, state: TrialState, reason: str = "", reason_text: str = "") -> None:
        """End a trial."""
        self._records[number] = self._ended(number, state, reason, reason_text)

    def suspend(self, number: int, reason: str = "", reason_text: str = "") -> None:
        """Set a trial that has not ended to WAITING, with the reason if it was paused."""
        self._records[number] = replace(
            self._unended(number), state=TrialState.WAITING, reason=reason, reason_text=reason_text
        )

    def reenter(self, number: int) -> None:
        """Set a trial that has not ended to RUNNING."""
        self._records[number] = replace(self._unended(number), state=TrialState.RUNNING, reason="", reason_text="")

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a fact about the study."""
        self._meta[key] = as_json(value)

    def meta(self) -> Mapping[str, Any]:
        """The facts kept about the study."""
        return dict(self._meta)

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _unended(self, number: int) -> TrialRecord:
        record = self.trial(number)
        if record.state.finished:
            raise StorageError(f"trial {number} has ended as {record.state}; what has ended is not changed any more")
        return record

    def _evaluated(self, number: int, evaluation: Evaluation) -> TrialRecord:
        record = self._unended(number)
        kept = tuple(earlier for earlier in record.curve if earlier.index < evaluation.index)
        return replace(record, curve=(*kept, Evaluation.from_plain(as_json(evaluation.plain()))))

    def _ended(self, number: int, state: TrialState, reason: str, reason_text: str) -> TrialRecord:
        if not state.finished:
            raise ValueError(f"a trial ends as COMPLETE, PRUNED or FAIL, got {state}")
        record = self._unended(number)
        if state == TrialState.COMPLETE and record.best(self.objective) is None:
            state, reason = TrialState.PRUNED, reason or "diverged"
            reason_text = reason_text or f"no evaluation gave a finite {self.objective.metric}"
        order = 1 + sum(other.state.finished for other in self._records.values())
        return replace(record, state=state, reason=reason, reason_text=reason_text, ended=order)


def as_json(value: Any) -> Any:
    """``value`` as it comes back from a database: tuples are lists, keys are strings."""
    return json.loads(json.dumps(value))
