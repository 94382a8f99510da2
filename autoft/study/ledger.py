"""The ledger: what a study knows of its trials, whoever keeps it."""

from collections.abc import Mapping
from typing import Any, Protocol, Self

from autoft.record import Evaluation, Proposal, TrialRecord, TrialState


class Ledger(Protocol):
    """The truth about a study. One process writes; every method returns when what it wrote is kept.

    All methods raise `autoft.errors.StorageError` when the store refuses, and
    `autoft.errors.UnknownNameError` for a trial that does not exist.
    """

    def trials(self) -> tuple[TrialRecord, ...]:
        """All trials in the order in which they were started."""

    def trial(self, number: int) -> TrialRecord:
        """One trial."""

    def start(self, proposal: Proposal) -> int:
        """Begin a trial; it is RUNNING. Returns its number, counted from 0 without gaps."""

    def report(self, number: int, evaluation: Evaluation) -> None:
        """Keep an evaluation of a running trial.

        Evaluation n ends the curve at n: one that was redone after a resume replaces what stood there, and what
        stood behind it came from a run that is lost.
        """

    def finish(self, number: int, state: TrialState, reason: str = "", reason_text: str = "") -> None:
        """End a trial. COMPLETE and PRUNED keep its best value.

        A COMPLETE trial without any finite value is kept as PRUNED, with the reason ``diverged`` unless one is given.
        """

    def suspend(self, number: int, reason: str = "", reason_text: str = "") -> None:
        """Set a trial to WAITING: paused by the rule that ``reason`` names, or interrupted when there is none."""

    def reenter(self, number: int) -> None:
        """Set a trial that was suspended to RUNNING again; it has no reason any more."""

    def set_meta(self, key: str, value: Any) -> None:
        """Keep a fact about the study that JSON can hold."""

    def meta(self) -> Mapping[str, Any]:
        """The facts kept about the study."""

    def close(self) -> None:
        """Let go of the store."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...
