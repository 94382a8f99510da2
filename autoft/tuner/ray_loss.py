"""Ray Tune and a Ray that is no more.

Without its GCS, calls of Ray are never answered, and after a minute Ray ends the program; without its raylet it does so
after ten seconds. Until then there is time to leave in order, if nothing more is asked of it.
"""

from typing import Any


def leave_at_once(controller: Any) -> None:
    """Have a controller of Ray Tune (2.60) end without a word to its actors, which have ended or soon will.

    Args:
        controller: as schedulers are given it, which is a wrapper.
    """
    controller._tune_controller.cleanup = lambda: None
