"""A search from its laid ground to its result: what `autoft.tuner.search` starts when all it was given is in order."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from autoft.cache.measure import Measurements
from autoft.data import DataHandle
from autoft.errors import ConfigError, SearchFailedError
from autoft.files import patiently
from autoft.interrupts import remembered
from autoft.pruning.replay import save_task
from autoft.record import Objective, TrialRecord, best_first
from autoft.space import SearchSpace
from autoft.study import Ledger, check_reachable
from autoft.tuner.baselines import HEAD_ONLY
from autoft.tuner.closing import WRITING_S, Closing, seconds_of_a_pass
from autoft.tuner.companions import likely_head_stages
from autoft.tuner.conclude import conclude, noted, write_tables
from autoft.tuner.conductor import Clock, Conductor
from autoft.tuner.config import SearchConfig
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.confirmation.session import Confirmation
from autoft.tuner.constraints import Constraints
from autoft.tuner.first import first_in_line, for_a_budget, limited, probed
from autoft.tuner.forecast import Outlook, look_ahead, reuse_in
from autoft.tuner.given import Data, Given
from autoft.tuner.inputs import check_identity, identity, own_module
from autoft.tuner.known import tell_known
from autoft.tuner.latency import kept_latency
from autoft.tuner.layout import LAYOUT, Layout, Room, choose_layout, device_here, room_for, wanted
from autoft.tuner.observer import Observer, SearchPlan
from autoft.tuner.pareto import objectives_of
from autoft.tuner.place import folder_of, worked_on
from autoft.tuner.policy import Policy
from autoft.tuner.prepare import (
    Ground,
    asked_metrics,
    baselines_of,
    build_policy,
    check_before_spending,
    lay_ground,
    measurements_of,
    search_space,
    split_of,
    with_memory_format,
    worker_context,
)
from autoft.tuner.probe import Probed
from autoft.tuner.quota import CheckpointKeeper, default_quota
from autoft.tuner.ray_head import RayHead
from autoft.tuner.ray_session import RaySession, ray_session
from autoft.tuner.recorded import recorded_task
from autoft.tuner.reserve import Passes, Reserve
from autoft.tuner.result import SearchResult, open_confirmation, open_ledger
from autoft.tuner.retention import Retention
from autoft.tuner.run_folder import RunFolder, default_name
from autoft.tuner.supply import Supply
from autoft.tuner.warm_start import earlier_study
from autoft.tuner.worker import WorkerContext

_SECONDS_BETWEEN_TABLES = 2.0
_SPARE = 4
"""How many times as many of the best trials keep their weights where some of them may break a constraint."""


def run_search(
    config: SearchConfig, given: Given, observer: Observer, started_at: float, head: RayHead | None
) -> SearchResult:
    """Lay the ground, run the trials, confirm and conclude.

    Args:
        config: all settings.
        given: what the caller gave beside them.
        observer: told what happens.
        started_at: when the budget began, in seconds since the epoch.
        head: Ray, being started on this machine; None: a running one is used.

    Raises:
        AutoftError: a member of its tree for each thing that can be wrong; the run can always be resumed.
    """
    source = given.data if given.data is not None else config.data.source
    assert source is not None, "checked before"
    base = config.base_recipe()
    name = config.output.name or default_name(base.model.name, config.data.source or "")
    folder = folder_of(config.output.storage_path, name)
    module = own_module(given.model)
    with folder.resumable(), worked_on(folder, observer.note) as link:
        if config.search.storage:
            check_reachable(config.search.storage)
        if not folder.exists:
            earlier_study(config)
        if module is None:
            check_before_spending(config, base, given.space, given.metric)
        asked = wanted(config.resources, config.search.num_samples)
        with ray_session(given.address, head) as ray:
            if asked:
                ray.ask_for(asked)
            with remembered() as ask:
                room = room_for(
                    config.resources, trials=config.search.num_samples, nodes=ray.started_nodes(observer.note)
                )
                ground = lay_ground(
                    base,
                    source,
                    module=module,
                    metrics=asked_metrics(config, given.metric),
                    max_bytes=config.data.max_bytes,
                    notify=observer.note,
                )
                for note in ground.notes:
                    observer.note(note)
                opened = _open(config, given, ground, folder, room, observer, started_at)
                ask()
            link.watch(opened.conductor)
            if asked:
                ray.ask_for(replace(opened.outlook.forecast.layout.slots, count=asked.count))
            try:
                result = opened.run(folder, ray, room, None if ray.alone else _supply(config, source, ground))
            finally:
                if config.search.record_curves:
                    conductor = opened.conductor
                    save_task(folder.curves, recorded_task(folder.name, conductor.records, conductor.objective))
    return noted(folder, result, link.behind) if link.behind else result


@dataclass
class _OpenSearch:
    """A search that is ready to run."""

    ground: Ground
    conductor: Conductor
    outlook: Outlook
    context: WorkerContext
    closing: Closing
    confirmation: Confirmation | None
    objectives: tuple[Objective, ...]
    """Where there are several."""
    line: "_Line"

    def run(self, folder: RunFolder, ray: RaySession, room: Room, supply: Supply | None) -> SearchResult:
        """Run the trials and conclude; an interruption leaves the run resumable."""
        conductor, forecast, confirmation = self.conductor, self.outlook.forecast, self.confirmation
        relay = Relay(conductor, self._confirm, self._confirm_early)
        context = replace(self.context, confirming=confirmation.told if confirmation else None)
        try:
            slots = forecast.layout.slots
            tell_known(conductor, context, self.ground.loaded)
            context = self.line.drawn_up(context)
            ray.ready()
            now = None if supply is None else partial(slots_now, room, ray, slots.cpus)
            alive = partial(ray.check, folder.resuming)
            from autoft.tuner.ray_runner import run_on_ray  # Ray's own thread has imported it meanwhile

            run_on_ray(
                relay, context, slots, folder.scratch, supply=supply, room=now, alive=alive, borrowed=ray.borrowed
            )
            relay.settle()
            said = confirmation.conclude(conductor.records) if confirmation else None
            return self._conclude(folder, self.closing, said)
        except KeyboardInterrupt:
            relay.suspend()
            with suppress(SearchFailedError):
                self._conclude(folder, None)
            raise
        except BaseException:
            relay.suspend()
            write_tables(folder, conductor.records, conductor.objective)
            raise

    def _confirm(self) -> Conductor | None:
        return self.confirmation.begin(self.conductor.records) if self.confirmation else None

    def _confirm_early(self) -> Conductor | None:
        return self.confirmation.early(self.conductor.records) if self.confirmation else None

    def _conclude(
        self, folder: RunFolder, closing: Closing | None, said: Mapping[str, Any] | None = None
    ) -> SearchResult:
        return conclude(
            folder,
            self.ground,
            self.conductor,
            forecast=self.outlook.forecast,
            closing=closing,
            confirmation=said,
            objectives=self.objectives,
        )


def _open(
    config: SearchConfig,
    given: Given,
    ground: Ground,
    folder: RunFolder,
    room: Room,
    observer: Observer,
    started_at: float,
) -> _OpenSearch:
    objective = ground.data.task.objective(config.search.metric)
    objectives = objectives_of(config.search.objectives or (), ground.data.task)
    who = identity(ground.recipe, ground.data, objective, ground.loaded.digest)
    ledger = _ledger(config, folder, objective, who, ground.data)
    constraints = _constraints(config, ground, ledger)
    measured = measurements_of(ground, room.slots(1).runs_on)
    layout = _layout(config, ground, room, measured, ledger)
    ground = with_memory_format(ground, layout.memory_format)
    _refuse_what_is_slow(constraints, ground, ledger, layout)
    retention = _retention(config, ground, folder, objective, ledger, layout)
    space = search_space(config, ground, given.space)
    folder.clear_trials_from(len(ledger.trials()))
    folder.write_json(folder.split_file, {"identity": who, **split_of(ground.data)})
    folder.write_config(config)
    outlook = look_ahead(config, ground, space, objective, layout, measured)
    reserve = _reserve(config, ground, outlook, layout.slots.count, started_at)
    clock = _clock(ledger.trials(), started_at, reserve)
    shares = config.reuse.stages == "on"
    context = worker_context(
        ground,
        objective,
        folder.trials,
        threads=layout.threads,
        device=layout.slots.runs_on,
        reuse=outlook.reuse,
        stages=folder.stages if shares else None,
    )
    look = partial(probed, deadline=clock.deadline, notify=observer.note)
    found = look(config, space, ledger, context, ground) if outlook.predictor else None
    build = partial(build_policy, config, ground, space, objective, predict=outlook.predict)
    conductor = Conductor(
        ledger=ledger,
        policy=build(),
        objective=objective,
        clock=clock,
        slots=layout.slots.count,
        observer=observer,
        max_gpu_s=_gpu_seconds(config, layout),
        gpus=layout.slots.gpus_per_trial,
        on_trial_end=_keeper(config, folder, objective, spare=retention is not None),
        until=reserve.trials_until if reserve else None,
    )
    conductor.open()
    observer.started(_plan(config, ground, folder, conductor, outlook))
    confirmation = _confirmation(config, ground, folder, conductor, reserve, retention)
    closing = Closing.of(config, started_at, outlook.reuse, retention)
    line = _Line(config, ground, space, conductor, outlook, found, build)
    return _OpenSearch(ground, conductor, outlook, context, closing, confirmation, objectives, line)


@dataclass(frozen=True)
class _Line:
    """What a search tries after the first answer; it is drawn up when that is there."""

    config: SearchConfig
    ground: Ground
    space: SearchSpace
    conductor: Conductor
    outlook: Outlook
    found: Probed | None
    build: Callable[..., Policy]

    def drawn_up(self, context: WorkerContext) -> WorkerContext:
        """Let the conductor follow the whole policy, with rates that are tried now.

        Returns:
            the context, with what workers need of the policy.
        """
        config, ground, conductor, notify = self.config, self.ground, self.conductor, self.conductor.observer.note
        look = partial(limited, deadline=conductor.clock.deadline, notify=notify)
        found = look(self.space, conductor.ledger, context, ground, found=self.found)
        portfolio = first_in_line(config, ground, self.space, conductor.ledger, found=found, notify=notify)
        policy = self.build(portfolio=portfolio, found=found)
        slot_s = conductor.clock.left_s * self.outlook.forecast.layout.slots.count
        policy = for_a_budget(policy, self.outlook.seconds, slot_s=slot_s)
        conductor.follow(policy)
        _say_what_waits(conductor, policy)
        if context.stages is None:
            return context
        return replace(context, companions=tuple(likely_head_stages(policy, self.space, config.search.sampler)))


def _say_what_waits(conductor: Conductor, policy: Policy) -> None:
    for name in policy.postponed.keys() - {record.baseline for record in conductor.records}:
        conductor.say(f"baseline {name}: it would take much of the time budget, so cheaper recipes are tried before it")


def _ledger(
    config: SearchConfig, folder: RunFolder, objective: Objective, who: Mapping[str, Any], data: DataHandle
) -> Ledger:
    """The study's, if the run is of the same model and data."""
    if folder.exists:
        check_identity(folder.read_split(), who, data, folder.place)
    return open_ledger(folder, objective, config.search.storage)


def _constraints(config: SearchConfig, ground: Ground, ledger: Ledger) -> Constraints:
    """Those that can be judged by a recipe; refused is what no recipe keeps to, and what a trial broke already."""
    found = Constraints(config.search.constraints, ground.loaded)
    found.among(baselines_of(ground))
    found.check(ledger.trials())
    return found


def _refuse_what_is_slow(constraints: Constraints, ground: Ground, ledger: Ledger, layout: Layout) -> None:
    if constraints.config.max_latency_ms is not None:
        found_ms = kept_latency(ledger, ground, device_here(layout.slots.runs_on))
        constraints.check_latency(found_ms, ground.recipe.data.image_size)


def _retention(
    config: SearchConfig, ground: Ground, folder: RunFolder, objective: Objective, ledger: Ledger, layout: Layout
) -> Retention | None:
    """What trials must retain to win; None where they need not."""
    least = config.search.constraints.min_retention
    if least is None:
        return None
    found = Retention(least, folder, ground, objective, ledger, layout.threads, reuse_in(config))
    found.check()
    return found


def _confirmation(
    config: SearchConfig,
    ground: Ground,
    folder: RunFolder,
    conductor: Conductor,
    reserve: Reserve | None,
    retention: Retention | None,
) -> Confirmation | None:
    if not config.confirm.top:
        return None
    return Confirmation(
        config=config.confirm,
        folder=folder,
        ground=ground,
        objective=conductor.objective,
        open_ledger=lambda: open_confirmation(folder, conductor.objective, config.search.storage),
        clock=conductor.clock,
        reserve=reserve,
        slots=conductor.slots,
        seed=config.search.seed,
        note=conductor.observer.note,
        allowed=retention.keeps if retention else lambda _record: True,
    )


def _layout(config: SearchConfig, ground: Ground, room: Room, measured: Measurements, ledger: Ledger) -> Layout:
    """What the study has, else what is chosen now and kept in it."""
    stored = ledger.meta().get(LAYOUT)
    if stored is None and ledger.trials():  # by a version that had no choice
        stored = {"memory_format": "contiguous", "threads": 1}
    layout = choose_layout(ground.recipe, config.resources, room, measured, stored=stored)
    if layout.plain() != stored:
        ledger.set_meta(LAYOUT, layout.plain())
    return layout


def _supply(config: SearchConfig, source: Data, ground: Ground) -> Supply:
    settings = ground.recipe.data
    assert settings.split_seed is not None, "laid with the ground"
    return Supply.of(source, settings, seed=settings.split_seed, max_bytes=config.data.max_bytes)


def slots_now(room: Room, ray: RaySession, cpus: int) -> int:
    """How many trials there is room for on the nodes that the cluster has now."""
    return replace(room, nodes=ray.nodes() or room.nodes).slots(cpus).count


def _clock(before: Sequence[TrialRecord], started_at: float, reserve: Reserve | None) -> Clock:
    """The trials' clock."""
    spent = max((evaluation.wall_s for record in before for evaluation in record.curve), default=0.0)
    return Clock(started_at, reserve.trials_until(before) if reserve else None, spent)


def _reserve(config: SearchConfig, ground: Ground, outlook: Outlook, slots: int, started_at: float) -> Reserve | None:
    """What is kept for the end; of the time that is left now, confirmation has a share. None without a budget."""
    budget = config.search.time_budget_s
    if budget is None:
        return None
    pass_s = outlook.predictor.pass_s if outlook.predictor else seconds_of_a_pass(ground)
    end = started_at + budget - WRITING_S
    passes, objective = Passes.of(config, ground.data), ground.data.task.objective(config.search.metric)
    reserve = Reserve(end, budget, passes, pass_s, config.confirm, objective, slots)
    share_s = config.confirm.max_share * max(0.0, reserve.runs_until() - time.time())
    return replace(reserve, share_s=share_s)


def _gpu_seconds(config: SearchConfig, layout: Layout) -> float | None:
    hours = config.search.max_gpu_hours
    if hours is not None and not layout.slots.gpus:
        raise ConfigError(f"search.max_gpu_hours: is {hours:g}, but this search uses no GPU; give search.time_budget_s")
    return None if hours is None else 3600 * hours


def _plan(
    config: SearchConfig, ground: Ground, folder: RunFolder, conductor: Conductor, outlook: Outlook
) -> SearchPlan:
    left = conductor.clock.left_s
    return SearchPlan(
        place=folder.place,
        model=ground.loaded.card,
        data=ground.data.name,
        items={name: len(getattr(ground.data.splits, name)) for name in ("train", "val", "test")},
        objective=conductor.objective,
        num_samples=config.search.num_samples,
        slots=conductor.slots,
        time_left_s=None if left == math.inf else left,
        finished_trials=sum(record.state.finished for record in conductor.records),
        forecast=outlook.forecast,
        saved_s=sum(record.saved_s for record in conductor.records),
        best=next(iter(best_first(conductor.records, conductor.objective)), None),
    )


def _quota(config: SearchConfig, folder: RunFolder) -> int:
    return config.output.max_checkpoint_bytes or default_quota(folder.path)


def _keeper(config: SearchConfig, folder: RunFolder, objective: Objective, *, spare: bool) -> "_Keeper":
    """Keeps the weights of the trials that may be confirmed, and of more where some may break a constraint."""
    top = max(1, config.confirm.top) * (_SPARE if spare else 1)
    spared = HEAD_ONLY if spare else None
    return _Keeper(folder, CheckpointKeeper(folder, objective, _quota(config, folder), top=top, spared=spared))


class _Keeper:
    """Keeps the run folder in order while the search runs."""

    def __init__(self, folder: RunFolder, checkpoints: CheckpointKeeper) -> None:
        self._folder, self._checkpoints = folder, checkpoints
        self._written_at = 0.0

    def __call__(self, conductor: Conductor) -> None:
        """After a trial: drop checkpoints that cannot win, and write the tables now and then."""
        patiently(partial(self._tidy, conductor))

    def _tidy(self, conductor: Conductor) -> None:
        self._checkpoints(conductor.records)
        conductor.notes += [note for note in self._checkpoints.notes if note not in conductor.notes]
        if time.monotonic() - self._written_at > _SECONDS_BETWEEN_TABLES:
            write_tables(self._folder, conductor.records, conductor.objective)
            self._written_at = time.monotonic()
