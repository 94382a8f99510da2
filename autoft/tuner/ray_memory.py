"""Ray Tune and workers that Ray's memory monitor ends.

Their calls fail with an `OutOfMemoryError`, which is none of the errors that Ray Tune (2.60) expects of an actor: it
takes it for a fault of its own and ends the whole search. Here it is told of such a death as of any other.
"""

from typing import Any

from ray.exceptions import OutOfMemoryError, RayActorError


def bear_memory_kills(controller: Any) -> None:
    """Have a controller of Ray Tune go on when the memory monitor ends a worker.

    Args:
        controller: as schedulers are given it.
    """
    manager = controller._actor_manager
    failed = manager._actor_task_failed

    def told(*, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        failed(tracked_actor_task=tracked_actor_task, exception=exception)

    manager._actor_task_failed = told
