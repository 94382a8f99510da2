"""Runs a conducted search on Ray Tune: one actor per slot, no word on the terminal."""

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune

from autoft.errors import SearchFailedError
from autoft.interrupts import remembered
from autoft.tuner.conductor import Conductor
from autoft.tuner.confirmation.relay import Relay
from autoft.tuner.demise import forget, mourn
from autoft.tuner.layout import Slots
from autoft.tuner.ray_adapters import (
    WORKER_RESTARTS,
    ConductedScheduler,
    ConductedSearcher,
    StarvedError,
    nothing,
)
from autoft.tuner.ray_trainable import Meeting, Parcel, TrialActor, work_of
from autoft.tuner.supply import Supply
from autoft.tuner.worker import WorkerContext


def run_on_ray(  # noqa: PLR0913 - keyword-only
    conductor: Conductor | Relay,
    context: WorkerContext,
    slots: Slots,
    scratch: Path,
    *,
    supply: Supply | None = None,
    room: Callable[[], int] | None = None,
    alive: Callable[[], None] = nothing,
    borrowed: bool = False,
) -> None:
    """Run until the conductor has no more trials.

    Args:
        conductor: opened.
        context: what the workers need; put once into Ray's object store.
        slots: trials at a time.
        scratch: a folder for Ray Tune's own files, of no use afterwards.
        supply: what workers on other nodes need; None where there are none.
        room: asked now and then how many trials there is room for, as nodes join and leave; None where none can.
        alive: called in every turn; raises when Ray is no more.
        borrowed: Ray goes on when the search is over, so that nothing may be left in it.

    Raises:
        SearchFailedError: trials crash for one cause, Ray Tune itself failed, or Ray is no more.
        StorageError: the storage refuses what the trials, or the ledger, need.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    most = slots.count if room is None else max(slots.count, conductor.trials_to_come)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(most)  # all workers start at once, not one after the other
    with remembered() as ask:
        scheduler = ConductedScheduler(conductor, ask, room, _mourning(context), alive)
        meeting = Meeting.called(scratch.resolve() / "workers", min(slots.count, conductor.trials_to_come))
        parcel = Parcel.pack(context, meeting, slots, supply)
        tuner = _tuner(conductor, scheduler, parcel, slots, scratch)
        try:
            tuner.fit()
        except StarvedError:
            scheduler.give_back()
            conductor.end_for_budget()
        except tune.TuneError as error:
            alive()
            if scheduler.refusal:
                raise scheduler.refusal from None
            raise SearchFailedError(f"Ray Tune failed: {error}; resume the run to go on") from error
        except BaseException:
            if borrowed:
                scheduler.give_back()
            raise
        ask()
    conductor.raise_if_failed()


def _mourning(context: WorkerContext) -> Callable[[Mapping[str, Any], bool], str | None]:
    """What follows when the worker of a trial dies; what died with an earlier driver is forgotten."""
    for folder in (context.trials, *([context.confirming.folder] if context.confirming else [])):
        forget(folder)

    def of(config: Mapping[str, Any], said: bool) -> str | None:  # noqa: FBT001 - the seam's
        work = work_of(config)
        return mourn(context.folder(work), work.number, context.micro_batches, said=said)

    return of


def _tuner(
    conductor: Conductor | Relay, scheduler: ConductedScheduler, parcel: Parcel, slots: Slots, scratch: Path
) -> tune.Tuner:
    trainable: Any = tune.with_parameters(TrialActor, parcel=parcel)
    return tune.Tuner(
        tune.with_resources(trainable, _bundles(slots)),
        tune_config=tune.TuneConfig(
            search_alg=ConductedSearcher(conductor, scheduler.look_for_ray),
            scheduler=scheduler,
            num_samples=-1,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=tune.RunConfig(
            name="tune",
            storage_path=str(scratch.resolve()),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=WORKER_RESTARTS),
        ),
    )


def _bundles(slots: Slots) -> tune.PlacementGroupFactory:
    """What Ray reserves for a trial: a bundle for each of its workers, of which the actor has the first."""
    return tune.PlacementGroupFactory(slots.bundles, strategy="PACK")


def _trial_name(trial: Any) -> str:
    """A trial that was paused and thawed is two trials to Tune."""
    return f"trial-{trial.config['number']:04d}-{trial.trial_id}"
