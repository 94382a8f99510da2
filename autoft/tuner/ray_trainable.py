"""The trainable that Ray Tune runs: a worker process, and what it is sent.

It is imported by every worker process, so it imports nothing that only the driver needs.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import cloudpickle, tune

from autoft.files import translated
from autoft.heap import keep_freed
from autoft.tuner.bench import Work
from autoft.tuner.confirmation.runs import ticket
from autoft.tuner.layout import Slots, check_device
from autoft.tuner.ray_ranks import RayTeam
from autoft.tuner.supply import Supply
from autoft.tuner.worker import Worker, WorkerContext

REPORT = "report"


@dataclass(frozen=True, slots=True)
class Meeting:
    """Where the workers of a search wait for each other when they start.

    Tune gives a trial whose worker is still starting to the first worker that is free, throws the starting one
    away, and starts another for the next trial: without a meeting, short trials cost processes.
    """

    folder: Path
    workers: int

    @classmethod
    def called(cls, folder: Path, workers: int) -> "Meeting":
        """A meeting whose folder is there for all who share the run folder."""
        with translated(folder):
            folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, workers)

    def attend(self, *, patience_s: float = 30.0) -> None:
        """Wait until all workers are there, at most so long."""
        if not self.folder.is_dir():  # on a node that does not share the run folder
            return
        (self.folder / f"{_node()}-{os.getpid()}").touch()
        end = time.monotonic() + patience_s
        while len(list(self.folder.iterdir())) < self.workers and time.monotonic() < end:
            time.sleep(0.02)


@dataclass(frozen=True, slots=True)
class Parcel:
    """A context on its way to the workers, opened where its errors can be told."""

    content: bytes
    paths: tuple[str, ...]
    """Where the driver imports from: the user's own module comes from there."""
    meeting: Meeting
    node: str
    """The driver's."""
    workers: int
    """Ranks of a trial."""
    cards: bool
    """Whether each rank has a GPU of its own."""

    @classmethod
    def pack(cls, context: WorkerContext, meeting: Meeting, slots: Slots, supply: Supply | None = None) -> "Parcel":
        """Pickle the context, with what the user defined in a script by value.

        Args:
            context: what all workers share.
            meeting: where they wait for each other.
            slots: what a trial has.
            supply: what makes the context good for workers on other nodes; None where there are none.
        """
        content: bytes = cloudpickle.dumps((context, supply))  # type: ignore[no-untyped-call]
        return cls(content, tuple(sys.path), meeting, _node(), slots.workers, slots.gpus >= 1)

    def open(self) -> WorkerContext:
        """The context, in a worker process, which keeps the memory that training frees."""
        keep_freed()
        sys.path.extend(path for path in self.paths if path not in sys.path)
        context, supply = cloudpickle.loads(self.content)
        assert isinstance(context, WorkerContext)
        check_device(context.device)
        if supply is None or self.node == _node():
            return context
        assert isinstance(supply, Supply)
        return supply.at_home(context)


def _node() -> str:
    """The node that this process is on."""
    return str(ray.get_runtime_context().get_node_id())


def work_of(config: Mapping[str, Any]) -> Work:
    """What a trial of Tune is."""
    number, run = config["number"], config.get("run")
    return Work(number if run is None else ticket(number), config["recipe"], run, config.get("until"))


class TrialActor(tune.Trainable):
    """One worker process: it lives as long as the search and is reset from trial to trial."""

    def setup(self, config: dict[str, Any], parcel: Parcel | None = None) -> None:
        """Start the worker and take up its first trial."""
        assert parcel is not None
        self._team = RayTeam(parcel.open, parcel.workers, cards=parcel.cards) if parcel.workers > 1 else None
        self._worker = Worker(parcel.open, self._team)
        self.reset_config(config)
        parcel.meeting.attend()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take up the next trial."""
        work = work_of(new_config)
        self._worker.begin(work.number, work.recipe, known=new_config["known"], run=work.run, until=work.until)
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next evaluation; the scheduler ends the trial, never the actor."""
        return {REPORT: json.dumps(self._worker.step().plain())}

    def rest(self) -> None:
        """The trial does not go on here: hold nothing that others may wait for until the next one comes."""
        self._worker.rest()

    def cleanup(self) -> None:
        """End the other ranks with this one."""
        if self._team:
            self._team.close()

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Trials keep their own checkpoints in the run folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Trials restore themselves from the run folder."""
