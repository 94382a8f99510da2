"""The quota of checkpoints: what is needed to resume, and the best, are kept; the rest goes when it is used up."""

import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autoft.errors import StorageError
from autoft.files import translated
from autoft.record import Objective, TrialRecord, best_first
from autoft.training.checkpoint import slim_checkpoint
from autoft.tuner.run_folder import RunFolder

_CHECKPOINT = "checkpoint"


def default_quota(folder: Path) -> int:
    """Half of the space that is free where the run lies.

    Raises:
        StorageError: the disk refuses to tell.
    """
    with translated(folder):
        return shutil.disk_usage(folder).free // 2


@dataclass
class CheckpointKeeper:
    """Drops what a search does not need any more; to be called after every trial.

    A finished trial that is neither a baseline nor among the best so far loses its checkpoint at once. Beyond the quota
    go, in this order: from finished trials everything but their best weights; results of stages, which can be computed
    again, those that nobody has asked for longest first; all trials but the best, the worst first.

    Args:
        folder: the run.
        objective: which trial is the best.
        max_bytes: of all trials and stages together.
        top: how many of the best are kept, for confirmation.
        spared: a baseline that keeps its best weights, as that which retains all where others may not win.
    """

    folder: RunFolder
    objective: Objective
    max_bytes: int
    top: int = 1
    spared: str | None = None
    notes: list[str] = field(default_factory=list)
    """Sentences that belong to the result."""
    _leaders: list[TrialRecord] = field(default_factory=list)
    """The best so far, the best first."""
    _seen: set[int] = field(default_factory=set)
    _slim: set[int] = field(default_factory=set)
    _told: bool = False

    def __call__(self, records: Sequence[TrialRecord]) -> None:
        """Look at the trials that have finished since the last call, then at the quota."""
        for record in records:
            if record.state.finished and record.number not in self._seen:
                self._seen.add(record.number)
                self._take(record)
        self._make_room(records)

    def _take(self, record: TrialRecord) -> None:
        """Keep a finished trial if it is among the best so far; another that is no baseline loses its checkpoint."""
        ranked = best_first([*self._leaders, record], self.objective)
        self._leaders = ranked[: self.top]
        kept = self._leading()
        for loser in (record, *ranked):
            if loser.baseline is None and loser.number not in kept:
                removed(self._path(loser.number))

    def _leading(self) -> list[int]:
        return [record.number for record in self._leaders]

    def _make_room(self, records: Sequence[TrialRecord]) -> None:
        excess = self._used(records) - self.max_bytes
        for free in self._ways(records):
            if excess <= 0:
                return
            excess -= free()
        if excess > 0 and not self._told:
            self._told = True
            self.notes.append(
                f"output.max_checkpoint_bytes: what is needed to resume, and the best trial, take "
                f"{self.max_bytes + excess:,} bytes, the quota is {self.max_bytes:,}: nothing of it was dropped; raise "
                "the quota, or lower resources.max_concurrent_trials"
            )

    def _ways(self, records: Sequence[TrialRecord]) -> Iterator[Callable[[], int]]:
        """What can be done for space, in order; each says how many bytes it freed."""
        kept = [record for record in self._finished(records) if self._path(record.number).is_dir()]
        yield from (partial(self._slimmed, record.number) for record in kept if record.number not in self._slim)
        yield from (partial(removed, path) for path in self._stages())
        needed = self._leading()[:1]
        others = [each for each in kept if each.number not in needed and each.baseline != self.spared]
        yield from (partial(self._without, record) for record in sorted(others, key=self._rank))

    def _slimmed(self, number: int) -> int:
        self._slim.add(number)
        before = size_of(self._path(number))
        with suppress(StorageError):  # a full disk cannot take the smaller copy: other ways follow
            slim_checkpoint(self._path(number))
        return before - size_of(self._path(number))

    def _without(self, record: TrialRecord) -> int:
        which, lost = f"trial {record.number}", "cannot be confirmed"
        if record.baseline:
            which, lost = f"the baseline {record.baseline}", "has no test score"
        self.notes.append(
            f"output.max_checkpoint_bytes: the weights of {which} were dropped at {self.max_bytes:,} bytes, so it "
            f"{lost}; raise the quota to keep them"
        )
        return removed(self._path(record.number))

    def _finished(self, records: Sequence[TrialRecord]) -> Iterator[TrialRecord]:
        best = self._leading()
        return (each for each in records if each.state.finished and (each.baseline or each.number in best))

    def _rank(self, record: TrialRecord) -> tuple[float, float]:
        best = record.best(self.objective)
        return self.objective.rank(best) if best else (-math.inf, -math.inf)

    def _stages(self) -> list[Path]:
        """Results of stages, that which nobody has asked for longest first."""
        if not self.folder.stages.is_dir():
            return []
        found = [(_changed(path), path) for path in self.folder.stages.iterdir() if not path.name.startswith(".")]
        return [path for _, path in sorted(found)]

    def _used(self, records: Sequence[TrialRecord]) -> int:
        kept = [*self._finished(records), *(record for record in records if not record.state.finished)]
        trials = sum(size_of(self._path(record.number)) for record in kept)
        return trials + sum(size_of(path) for path in self._stages())

    def _path(self, number: int) -> Path:
        return self.folder.trial(number) / _CHECKPOINT


def removed(folder: Path) -> int:
    """Take a folder away; returns the bytes that this freed."""
    size = size_of(folder)
    shutil.rmtree(folder, ignore_errors=True)
    return size


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder; those that go away meanwhile are not counted."""
    total = 0
    for path in folder.glob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
