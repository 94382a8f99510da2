"""The ranks of a worker on Ray: rank 0 is the trial's own actor, and starts the others inside its placement group.

Processes and their process group are kept from trial to trial. Ray Train inside of Tune was measured and is not used:
it starts new processes for every trial and hears of results seconds late.
"""

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError, RayError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from autoft.training import Ranks, is_lost_connection, join, leave
from autoft.tuner.bench import Work, WorkerContext
from autoft.tuner.follower import Follower, Trouble
from autoft.tuner.worker import LostRankError

_START_S = 300.0
"""New ranks are there within this time, or their place is gone."""
_GRACE_S = 15.0
"""A step that hangs so long after a rank was lost is ended with its process."""


class RankActor:
    """A process that follows."""

    def __init__(self, open_context: Callable[[], WorkerContext]) -> None:
        self._follower = Follower(open_context)

    def place(self) -> str:
        """The node it runs on."""
        return str(ray.get_runtime_context().get_node_id())

    def join(self, meeting: str, rank: int, world: int, *, cards: bool) -> Trouble | None:
        """Meet the other ranks."""
        return self._follower.join(meeting, rank, world, cards=cards)

    def begin(self, work: Work) -> Trouble | None:
        """Take up a trial."""
        return self._follower.begin(work)

    def follow(self) -> Trouble | None:
        """Do what rank 0 tells until it rests."""
        return self._follower.follow()


class RankError(Exception):
    """What another rank could not do, as rank 0 tells it."""


class RankOutOfMemoryError(MemoryError):
    """Another rank's memory was not enough."""


class RayTeam:
    """The other ranks of this actor, in the bundles of its placement group.

    Args:
        open_context: what each of them opens.
        workers: ranks of a trial, this process included.
        cards: whether each has a GPU of its own.
    """

    def __init__(self, open_context: Callable[[], WorkerContext], workers: int, *, cards: bool) -> None:
        self.ranks = Ranks(0, workers, call=self._call)
        self._cards, self._open_context = cards, open_context
        self._others = self._start()
        self._following: list[ray.ObjectRef[Any]] = []
        self._met = False

    def begin(self, work: Work) -> None:
        """Have all take up a trial; those that are gone are replaced."""
        try:
            self._begin(work)
        except LostRankError:
            self._replace()
            self._begin(work)

    def cause(self, error: Exception) -> Exception:
        """What made a step fail, by what the others say; all part."""
        self._part()
        following, self._following = self._following, []
        try:
            troubles = self._heard(following, patience_s=_GRACE_S)
        except LostRankError as lost:
            self._replace()
            return lost if is_lost_connection(error) else error
        own = [trouble for trouble in troubles if not trouble.echo]
        return _as_error(own[0]) if own and is_lost_connection(error) else error

    def close(self) -> None:
        """End the other processes."""
        self._part()
        self._following = []
        for other in self._others:
            with suppress(RayError):
                ray.kill(other)

    def _begin(self, work: Work) -> None:
        if not self._met:
            self._meet()
        self._raise(self._heard([other.begin.remote(work) for other in self._others]))

    def _replace(self) -> None:
        self.close()
        self._others = self._start()

    def _part(self) -> None:
        leave()
        self._met = False

    def _start(self) -> list[Any]:
        return [_start(self._open_context, bundle) for bundle in range(1, self.ranks.world)]

    @contextmanager
    def _call(self) -> Iterator[None]:
        """Have the others listen, and watch over them meanwhile."""
        self._raise(self._heard(self._following))  # of the call before: they rest
        self._following = [other.follow.remote() for other in self._others]
        with _watched(self._following):
            yield

    def _meet(self) -> None:
        here = ray.get_runtime_context().get_node_id()
        places = self._get([other.place.remote() for other in self._others], patience_s=_START_S)
        together = all(place == here for place in places)
        file = Path(gettempdir()) / f"autoft-ranks-{uuid.uuid4().hex}"
        meeting = f"file://{file}" if together else f"tcp://{_address()}:{_free_port()}"
        try:
            world = self.ranks.world
            joining = [
                other.join.remote(meeting, rank, world, cards=self._cards) for rank, other in enumerate(self._others, 1)
            ]
            with _watched(joining):
                join(meeting, 0, world, cards=self._cards)
            self._raise(self._heard(joining))
        finally:
            file.unlink(missing_ok=True)
        self._met = True

    def _heard(self, asked: list["ray.ObjectRef[Any]"], *, patience_s: float | None = None) -> list[Trouble]:
        return [trouble for trouble in self._get(asked, patience_s=patience_s) if trouble]

    def _get(self, asked: list["ray.ObjectRef[Any]"], *, patience_s: float | None = None) -> list[Any]:
        try:
            return list(ray.get(asked, timeout=patience_s))
        except (RayActorError, OutOfMemoryError, GetTimeoutError) as error:
            starved = isinstance(error, OutOfMemoryError)
            raise LostRankError(f"a rank of this trial is gone: {error}", starved=starved) from error

    def _raise(self, troubles: list[Trouble]) -> None:
        if troubles:
            self._part()
            raise _as_error(next((trouble for trouble in troubles if not trouble.echo), troubles[0]))


def _start(open_context: Callable[[], WorkerContext], bundle: int) -> Any:
    group = get_current_placement_group()
    assert group is not None, "Tune gives every trial a placement group"
    given = group.bundle_specs[bundle]
    place = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=bundle)
    actor: Any = ray.remote(RankActor)
    return actor.options(num_cpus=given.get("CPU", 0), num_gpus=given.get("GPU", 0), scheduling_strategy=place).remote(
        open_context
    )


def _as_error(trouble: Trouble) -> Exception:
    kind = RankOutOfMemoryError if trouble.out_of_memory else RankError
    return kind(f"rank {trouble.rank}: {trouble.sentence}")


@contextmanager
def _watched(asked: list["ray.ObjectRef[Any]"]) -> Iterator[None]:
    """Within the block this process does not outwait the other ranks."""
    through = threading.Event()
    threading.Thread(target=_watch, args=(list(asked), through), daemon=True).start()
    try:
        yield
    finally:
        through.set()


def _watch(asked: list["ray.ObjectRef[Any]"], through: threading.Event) -> None:
    """End this process if another rank is gone or in trouble and it waits for it, as it may when a node lost its power.

    Ray then starts the trial's actor again, with new ranks.
    """
    while asked:
        done, asked = ray.wait(asked, num_returns=1)
        try:
            failed = ray.get(done[0]) is not None
        except RayError:
            failed = True
        if failed and not through.wait(_GRACE_S):
            os._exit(1)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def _address() -> str:
    """Of this node, as others reach it."""
    return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
