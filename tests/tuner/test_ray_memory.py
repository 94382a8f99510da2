"""Ray Tune's own manager of actors, when Ray's memory monitor ends one of them."""

import types

import pytest
from ray.air.execution._internal import RayActorManager, TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError

from autoft.tuner.ray_memory import bear_memory_kills


class Manager(RayActorManager):
    """One whose actors have nothing to clean up."""

    def __init__(self):
        self._failed_actor_ids = set()

    def _cleanup_actor(self, tracked_actor):
        pass


def test_a_worker_that_the_memory_monitor_ends_has_died_as_any_other():
    manager, heard = Manager(), []
    task = TrackedActorTask(TrackedActor(1, on_error=lambda _actor, error: heard.append(error)))
    given = {"tracked_actor_task": task, "exception": OutOfMemoryError("the node was running low on memory")}
    with pytest.raises(RuntimeError, match="low on memory"):  # what Tune makes of it; once it does not, this can go
        manager._actor_task_failed(**given)
    bear_memory_kills(types.SimpleNamespace(_actor_manager=manager))
    manager._actor_task_failed(**given)
    assert [(type(error), str(error)) for error in heard] == [(RayActorError, "the node was running low on memory")]
    with pytest.raises(RuntimeError, match="another"):
        manager._actor_task_failed(tracked_actor_task=task, exception=ValueError("another"))
