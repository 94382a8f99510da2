"""A worker: one process that runs trial after trial, knowing neither Ray nor the study.

It is driven by `Worker.begin` and `Worker.step`; what it knows of the search came once, in a `WorkerContext`. Where a
trial is trained by several processes, this is rank 0, and the others are its `Team`.
"""

import os
import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from autoft.errors import StorageError
from autoft.files import patiently, write_text
from autoft.heap import give_back
from autoft.model import LoadedModel
from autoft.record import Curve, Evaluation
from autoft.training import ALONE, Ranks, StagedTrainer
from autoft.tuner.bench import Bench, Confirming, Work, WorkerContext
from autoft.tuner.confirmation.runs import keep_outcome
from autoft.tuner.demise import kernel_kills, mourn, noted
from autoft.tuner.micro_batches import is_out_of_memory

__all__ = ["Confirming", "Report", "Team", "Worker", "WorkerContext"]


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker says after a step."""

    evaluations: Curve = ()
    """The newest: one, or all of a stage that the trial forked from."""
    done: bool = False
    """The trial has run all of its stages, or diverged."""
    out_of_time: bool = False
    crash: str | None = None
    """Type and message of an unexpected error; the traceback is in the trial's folder."""
    refused: str | None = None
    """What the storage said that the trial cannot do without: no fault of the trial."""
    notes: tuple[str, ...] = ()
    """Sentences that belong to the search's result."""

    def plain(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "evaluations": [evaluation.plain() for evaluation in self.evaluations],
            "done": self.done,
            "out_of_time": self.out_of_time,
            "crash": self.crash,
            "refused": self.refused,
            "notes": list(self.notes),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> "Report":
        """The inverse of `plain`."""
        return cls(
            evaluations=tuple(Evaluation.from_plain(evaluation) for evaluation in plain["evaluations"]),
            done=plain["done"],
            out_of_time=plain["out_of_time"],
            crash=plain["crash"],
            refused=plain["refused"],
            notes=tuple(plain["notes"]),
        )


class Team(Protocol):
    """The other ranks, as rank 0 sees them."""

    @property
    def ranks(self) -> Ranks:
        """Rank 0's place."""
        ...

    def begin(self, work: Work) -> None:
        """Have all take up a trial; what one of them cannot do is raised.

        Raises:
            LostRankError: ranks are gone, and cannot be replaced.
        """
        ...

    def cause(self, error: Exception) -> Exception:
        """What made a step fail with ``error``: another rank's own error, or its loss. The team parts."""
        ...


class Alone:
    """A worker that trains by itself is a team of one."""

    ranks = ALONE

    def begin(self, work: Work) -> None:
        """There is no one else."""

    def cause(self, error: Exception) -> Exception:
        """It is its own."""
        return error


class LostRankError(Exception):
    """A rank of a worker is gone: the trial goes on from its last state with new ones. Not for users to see.

    Args:
        text: what is known of it.
        starved: whether it was ended for lack of memory.
    """

    def __init__(self, text: str, *, starved: bool = False) -> None:
        super().__init__(text)
        self.starved = starved


_LOST_RANKS = 3
"""After so many losses within one step the whole worker gives up, and is replaced by whoever runs it."""


class Worker:
    """Runs one trial at a time; context, base model and data are opened once, with the first trial.

    Args:
        open_context: gives the context; what it raises is told as the trial's crash.
        team: the other ranks.
        base: the model, where the driver itself, which has it already, is the worker; it leaves no process number.
    """

    def __init__(
        self, open_context: Callable[[], WorkerContext], team: Team | None = None, base: LoadedModel | None = None
    ) -> None:
        self._bench, self._team, self._is_driver = Bench(open_context, base), team or Alone(), base is not None
        self._trainer: StagedTrainer | None = None
        self._untold: Curve = ()
        self._folder: Path | None = None
        self._work: Work | None = None
        self._rested = Report()
        """What is told where there is no trainer: how the trial ended."""
        self._lost: LostRankError | None = None

    def begin(
        self,
        number: int,
        recipe: Mapping[str, Any],
        *,
        known: int = 0,
        run: int | None = None,
        until: float | None = None,
    ) -> None:
        """Take up a trial: from its checkpoint if it has one, else from the pretrained weights.

        Evaluations of the checkpoint beyond the ``known`` first ones are told again: a driver that was killed may
        not have heard of them. ``run`` makes it a confirmation run: with its held-out items, in a folder of its own.
        It stops training at ``until``, in seconds since the epoch.
        """
        self._work, self._untold, self._rested, self._lost = Work(number, recipe, run, until), (), Report(), None
        try:
            self._folder = self._bench.context.folder(self._work)
            if not self._is_driver:
                patiently(partial(write_text, self._folder / "worker_pid", f"{os.getpid()}\n"))
            self._say(mourn(self._folder, number, self._bench.context.micro_batches))
            self._untold = self._take_up(self._work, self._folder).curve[known:]
        except LostRankError as error:
            self._lost = error
        except Exception as error:  # noqa: BLE001 - the trial boundary
            self._crashed(error)

    def step(self) -> Report:
        """Train to the next evaluation and save the trial's state.

        Raises:
            LostRankError: ranks are gone, and cannot be replaced.
        """
        if self._lost:
            raise self._lost
        if self._trainer is None or self._folder is None or self._work is None:
            return self._rested
        try:
            report = self._next(self._trainer, self._work, self._folder)
            held_out = self._bench.held_out(self._work) if report.done and not report.out_of_time else None
            if held_out and self._trainer:
                keep_outcome(self._trainer, held_out, self._bench.context.objective, self._folder)
        except LostRankError:
            self.rest()
            raise
        except Exception as error:  # noqa: BLE001 - the trial boundary
            report = self._crashed(error)
        told, self._bench.notes[:] = tuple(self._bench.notes), []
        return replace(report, notes=told)

    def _take_up(self, work: Work, folder: Path) -> StagedTrainer:
        """A trainer, on all ranks, that goes on from the trial's checkpoint."""
        self.rest()
        self._team.begin(work)
        self._trainer = self._bench.trainer(work, ranks=self._team.ranks)
        self._trainer.restore(folder / "checkpoint")
        return self._trainer

    def _next(self, trainer: StagedTrainer, work: Work, folder: Path) -> Report:
        if self._untold:
            untold, self._untold = self._untold, ()
            return Report(evaluations=untold, done=trainer.done)
        losses, before = 0, kernel_kills()
        while True:
            try:
                with noted(folder, trainer.demand):
                    return _advance(trainer, folder)
            except Exception as error:  # noqa: BLE001 - the trial boundary: what is not mended is raised
                cause = self._team.cause(error)
                lost = isinstance(cause, LostRankError)
                halved = _starved(cause, before) and self._halve(trainer, work)
                losses, before = losses + (lost and not halved), kernel_kills()
                replaced = lost and losses <= _LOST_RANKS
                if not replaced and not halved:
                    raise cause from (None if cause is error else error)
            trainer = self._take_up(work, folder)  # outside of the handler, which holds what filled the memory

    def _halve(self, trainer: StagedTrainer, work: Work) -> bool:
        """Remember that what did not fit does not; False where a single item was too much."""
        return self._say(self._bench.context.micro_batches.halve(work.number, *trainer.demand))

    def _say(self, note: str | None) -> bool:
        """Tell the search's result what there is to tell; whether there is."""
        if note:
            self._bench.notes.append(note)
        return bool(note)

    def rest(self) -> None:
        """Drop the trainer with all it holds: memory, and stages of the tree that other trials may wait for.

        To be called when a trial that could go on does not: the next one may be long in coming.
        """
        if self._trainer:
            self._trainer.close()
            self._trainer = None
            torch.cuda.empty_cache()
            give_back()

    def _crashed(self, error: Exception) -> Report:
        self.rest()
        text = f"{type(error).__name__}: {error}".strip().rstrip(":")
        refused = isinstance(error, StorageError)
        self._rested = Report(refused=str(error), done=True) if refused else Report(crash=text, done=True)
        with suppress(StorageError):  # the disk that refuses this is most likely the cause that is told
            if self._folder:
                write_text(self._folder / "error.txt", "".join(traceback.format_exception(error)))
        return self._rested


def _starved(cause: Exception, kernel_kills_before: int) -> bool:
    """Whether a step failed for lack of memory, in this process or in another rank's."""
    if isinstance(cause, LostRankError):
        return cause.starved or kernel_kills() > kernel_kills_before
    return is_out_of_memory(cause)


def _advance(trainer: StagedTrainer, folder: Path) -> Report:
    if trainer.done:
        return Report(done=True)
    evaluations = trainer.advance()
    if not evaluations:
        return Report(out_of_time=True, done=True)
    patiently(lambda: trainer.save(folder / "checkpoint"))
    return Report(evaluations=evaluations, done=trainer.done)
