"""How a search uses the machine: trials at a time, threads of each, memory format; chosen once per study."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from autoft.cache.measure import MeasurementError, Measurements, Setting
from autoft.errors import ConfigError
from autoft.model.memory import MemoryFormat
from autoft.recipe import Recipe

LAYOUT = "layout"
"""The study's fact that keeps what was chosen: results depend on it bit by bit."""
_FASTER = 1.1
"""How many times as fast something must be measured to be taken instead of what is usual."""


class Resources(Protocol):
    """The ``resources`` section of search.yaml."""

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
class Room:
    """What there is for trials on this machine."""

    cores: int
    gpus_per_worker: float
    most: int
    """Trials at a time that the GPUs, the settings and the number of trials allow."""
    workers: int = 1
    """Of each trial."""

    def slots(self, threads: int) -> Slots:
        """As many trials as fit, with so many threads for each worker."""
        cpus = min(threads, self.cores // self.workers)
        count = max(1, min(self.cores // (cpus * self.workers), self.most))
        return Slots(count=count, cpus=cpus, gpus=self.gpus_per_worker, workers=self.workers)


def room_for(resources: Resources, *, trials: int) -> Room:
    """What there is for trials.

    Args:
        resources: as asked for.
        trials: of the search.

    Raises:
        ConfigError: a demand that the machine cannot meet.
    """
    cores, cards, workers = core_count(), card_count(), resources.workers_per_trial
    together = f" for each of {workers} workers" if workers > 1 else ""
    if (resources.cpus_per_worker or 1) * workers > cores:
        raise ConfigError(
            f"resources.cpus_per_worker: {resources.cpus_per_worker or 1} asked for{together}, but this machine has "
            f"{cores}; ask for less"
        )
    each = resources.gpus_per_worker if resources.gpus_per_worker is not None else float(min(cards, 1))
    if each * workers > cards:
        raise ConfigError(
            f"resources.gpus_per_worker: {each:g} asked for{together}, but this machine has {cards}; ask for less"
        )
    fit = int(cards / (each * workers)) if each else cores
    return Room(cores, each, min(fit, trials, resources.max_concurrent_trials or fit), workers)


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
    if threads is None and room.gpus_per_worker:
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
    candidates = [threads for threads in _powers(room.cores) if threads == 1 or room.slots(threads).count]
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


def core_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def card_count() -> int:
    """GPUs that torch sees."""
    import torch  # noqa: PLC0415 - ask only when a search runs

    return torch.cuda.device_count()
