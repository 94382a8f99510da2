"""How a search uses the machine: trials at a time, threads of each, memory format; chosen once per study."""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from autoft.cache.measure import MeasurementError, Measurements, Setting
from autoft.errors import ConfigError
from autoft.model.memory import MemoryFormat
from autoft.recipe import Recipe
from autoft.tuner.machine import card_count, core_count

LAYOUT = "layout"
"""The study's fact that keeps what was chosen: results depend on it bit by bit."""
_FASTER = 1.1
"""How many times as fast something must be measured to be taken instead of what is usual."""


class Resources(Protocol):
    """The ``resources`` section of search.yaml."""

    @property
    def device(self) -> str: ...  # noqa: D102

    @property
    def cpus_per_worker(self) -> int | None: ...  # noqa: D102

    @property
    def gpus_per_worker(self) -> float | None: ...  # noqa: D102

    @property
    def workers_per_trial(self) -> int: ...  # noqa: D102

    @property
    def max_concurrent_trials(self) -> int | None: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Slots:
    """How many trials run at a time, and what each has."""

    count: int
    cpus: int
    """Of each worker."""
    gpus: float
    """Of each worker."""
    workers: int = 1
    """Of each trial: they train it together."""
    device: str = "auto"
    """cpu: the GPUs are not used."""

    @property
    def runs_on(self) -> str:
        """Where workers train, as torch calls it."""
        return "cuda" if self.gpus and self.device == "auto" else "cpu"

    @property
    def bundles(self) -> list[dict[str, float]]:
        """What Ray is to keep free for a trial: a bundle for each of its workers."""
        return [{"CPU": float(self.cpus), **({"GPU": self.gpus} if self.gpus else {})}] * self.workers

    @property
    def gpus_per_trial(self) -> float:
        """Of all of its workers."""
        return self.gpus * self.workers


@dataclass(frozen=True, slots=True)
class Layout:
    """What was chosen."""

    memory_format: MemoryFormat
    threads: int
    """Of each trial."""
    slots: Slots

    @property
    def setting(self) -> Setting:
        """What the speed of a trial depends on."""
        return Setting(self.memory_format, self.threads)

    def plain(self) -> dict[str, Any]:
        """As the study keeps it."""
        return {"memory_format": self.memory_format, "threads": self.threads, "slots": self.slots.count}


@dataclass(frozen=True, slots=True)
class Node:
    """What a machine has for workers."""

    cpus: int
    gpus: int = 0

    def holds(self, cpus: int, gpus: float) -> int:
        """How many workers fit, each with so many CPUs and GPUs; a share of a GPU is of one GPU."""
        by_cpus = self.cpus // cpus
        if not gpus:
            return by_cpus
        return min(by_cpus, self.gpus * int(1 / gpus) if gpus < 1 else int(self.gpus // gpus))

    def __str__(self) -> str:
        return _counted(self.cpus, self.gpus)


@dataclass(frozen=True, slots=True)
class Room:
    """What there is for trials, on this machine or on the nodes of a cluster."""

    nodes: tuple[Node, ...]
    gpus: float
    """Of each worker."""
    most: int
    """Trials at a time that the settings and the number of trials allow."""
    workers: int = 1
    """Of each trial."""
    most_threads: int | None = None
    """That can be tried out on this machine."""
    device: str = "auto"

    def slots(self, threads: int) -> Slots:
        """As many trials as fit, with so many threads for each worker."""
        cpus = min(threads, self.cores)
        count = max(1, min(self._trials(cpus), self.most))
        return Slots(count=count, cpus=cpus, gpus=self.gpus, workers=self.workers, device=self.device)

    @property
    def cores(self) -> int:
        """Threads that a worker may have at most, if at least one trial is to run."""
        largest = max(node.cpus for node in self.nodes)
        return next((cpus for cpus in range(largest, 1, -1) if self._trials(cpus)), 1)

    def _trials(self, cpus: int) -> int:
        return sum(node.holds(cpus, self.gpus) for node in self.nodes) // self.workers


def room_for(resources: Resources, *, trials: int, nodes: Sequence[Node] | None = None) -> Room:
    """What there is for trials.

    Args:
        resources: as asked for.
        trials: of the search.
        nodes: of the cluster; None is this machine alone.

    Raises:
        ConfigError: a demand that cannot be met.
    """
    there = tuple(nodes) if nodes is not None else (this_machine(),)
    cpus, workers = resources.cpus_per_worker or 1, resources.workers_per_trial
    cards = max((node.gpus for node in there), default=0)
    gpus = resources.gpus_per_worker if resources.gpus_per_worker is not None else float(min(cards, 1))
    largest = "this machine" if nodes is None else "the largest node"
    if cpus > (cores := max((node.cpus for node in there), default=0)):
        raise ConfigError(f"resources.cpus_per_worker: {cpus} asked for, but {largest} has {cores}; ask for less")
    if gpus > cards:
        raise ConfigError(f"resources.gpus_per_worker: {gpus:g} asked for, but {largest} has {cards}; ask for less")
    if (held := sum(node.holds(cpus, gpus) for node in there)) < workers:
        have = f"has {there[0]}" if nodes is None else f"of nodes with {', '.join(map(str, there))}"
        raise ConfigError(
            f"resources.workers_per_trial: {workers} of {_counted(cpus, gpus)} each asked for, but there is room for "
            f"{held}: {'this machine' if nodes is None else 'the cluster'} {have}; ask for less"
        )
    most = min(trials, resources.max_concurrent_trials or trials)
    return Room(there, gpus, most, workers, most_threads=core_count(), device=resources.device)


def wanted(resources: Resources, trials: int) -> Slots | None:
    """What a cluster is to grow to: room for the trials at a time that are asked for; None where no number is."""
    if resources.max_concurrent_trials is None:
        return None
    return Slots(
        count=min(trials, resources.max_concurrent_trials),
        cpus=resources.cpus_per_worker or 1,
        gpus=resources.gpus_per_worker or 0.0,
        workers=resources.workers_per_trial,
        device=resources.device,
    )


def choose_layout(
    recipe: Recipe, resources: Resources, room: Room, measured: Measurements, *, stored: Mapping[str, Any] | None
) -> Layout:
    """Choose memory format and threads: what is asked for, else what the study has, else what is faster.

    Trials side by side with one thread each win almost always: n threads are taken where c / n trials at a time get
    more done, that is where (c / n) / t_n is above c / t_1 by a tenth.

    Args:
        recipe: the base recipe; its memory format may be ``auto``.
        resources: as asked for.
        room: what there is.
        measured: asked for what it does not know only where that decides.
        stored: what the study has.
    """
    asked = recipe.optimisation.memory_format
    memory_format: MemoryFormat | None = None if asked == "auto" else asked
    threads = resources.cpus_per_worker
    if stored is not None:
        memory_format = memory_format or stored["memory_format"]
        threads = threads or int(stored["threads"])
    if threads is None and room.gpus:
        threads = 1
    try:
        memory_format = memory_format or faster_format(measured, threads or 1)
        threads = threads or _best_threads(measured, memory_format, room)
    except MeasurementError:  # a model that does not run says so where it is trained
        memory_format, threads = memory_format or "contiguous", threads or 1
    return Layout(memory_format, threads, room.slots(threads))


def faster_format(measured: Measurements, threads: int) -> MemoryFormat:
    """The memory format in which a trial with so many threads trains faster, by a tenth at least.

    Raises:
        MeasurementError: the model does not run.
    """
    usual, *others = measured.formats
    if others and (base := measured.few_rows(Setting(usual, threads))):
        for other in others:
            if measured.few_rows(Setting(other, threads), at_most_s=base.step_s / _FASTER):
                return other
    return usual


def _best_threads(measured: Measurements, memory_format: MemoryFormat, room: Room) -> int:
    candidates = _powers(min(room.cores, room.most_threads or room.cores))
    if len(candidates) == 1:
        return 1
    alone = measured.few_rows(Setting(memory_format, 1))
    assert alone is not None, "only a limit gives none"
    best, row_s = 1, alone.step_s / room.slots(1).count
    for threads in candidates[1:]:
        at_a_time = room.slots(threads).count
        found = measured.few_rows(Setting(memory_format, threads), at_most_s=row_s * at_a_time / _FASTER)
        if found:
            best, row_s = threads, found.step_s / at_a_time
    return best


def _powers(cores: int) -> list[int]:
    """1, 2, 4, ... and all cores."""
    return sorted({2**power for power in range(cores.bit_length()) if 2**power <= cores} | {cores})


def _counted(cpus: int, gpus: float) -> str:
    """CPUs and GPUs in words."""
    words = f"{cpus} CPU{'s' * (cpus != 1)}"
    return f"{words} and {gpus:g} GPU{'s' * (gpus != 1)}" if gpus else words


def device_here(device: str) -> str:
    """Where this process computes what workers compute there: who only conducts a search needs no GPU."""
    return device if card_count() else "cpu"


def check_device(device: str) -> None:
    """See that a worker has what it is to train on.

    Raises:
        ConfigError: it was given a GPU that torch does not see.
    """
    if device == "cuda" and not card_count():
        raise ConfigError(
            f"node {socket.gethostname()}: a worker was given a GPU, but torch sees none there; install a torch with "
            "CUDA and the GPU's driver, or start Ray there without --num-gpus, or set resources.device=cpu"
        )


def this_machine() -> Node:
    """What this process may use."""
    return Node(core_count(), card_count())
