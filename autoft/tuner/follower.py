"""A follower: a process that trains trials together with a worker, which is rank 0 and decides."""

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass

from autoft.files import write_text
from autoft.training import Ranks, StagedTrainer, is_lost_connection, join, leave
from autoft.tuner.bench import Bench, Work, WorkerContext
from autoft.tuner.micro_batches import is_out_of_memory


@dataclass(frozen=True, slots=True)
class Trouble:
    """What ended a follower's part in a trial."""

    rank: int
    sentence: str
    """Type and message of the error."""
    echo: bool
    """Whether it only tells that another rank has failed."""
    out_of_memory: bool


class Follower:
    """Takes up what rank 0 takes up, and does what it is told.

    Args:
        open_context: as of a `Worker`.
    """

    def __init__(self, open_context: Callable[[], WorkerContext]) -> None:
        self._bench = Bench(open_context)
        self._ranks = Ranks()
        self._trainer: StagedTrainer | None = None

    def join(self, meeting: str, rank: int, world: int, *, cards: bool) -> Trouble | None:
        """Meet the other ranks, in the place of those met before."""
        leave()
        self._ranks = Ranks(rank, world)
        return self._guarded(lambda: join(meeting, rank, world, cards=cards))

    def begin(self, work: Work) -> Trouble | None:
        """Build the trainer of a trial."""

        def build() -> None:
            if self._trainer:
                self._trainer.close()
            self._trainer = None
            write_text(self._bench.context.folder(work) / f"worker_pid.{self._ranks.rank}", f"{os.getpid()}\n")
            self._trainer = self._bench.trainer(work, ranks=self._ranks)

        return self._guarded(build)

    def follow(self) -> Trouble | None:
        """Do what rank 0 tells until it rests."""
        assert self._trainer is not None
        return self._guarded(self._trainer.follow)

    def _guarded(self, do: Callable[[], None]) -> Trouble | None:
        try:
            do()
        except Exception as error:  # noqa: BLE001 - the trial boundary, on this rank
            leave()  # rank 0, and all others, hear of it
            sentence = f"{type(error).__name__}: {error}".strip().rstrip(":")
            traceback.print_exc()
            return Trouble(self._ranks.rank, sentence, is_lost_connection(error), is_out_of_memory(error))
        return None
